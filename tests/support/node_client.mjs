// Opens a WebSocket with node's own client, runs code that sends on it (as `ws`) once it is open, and prints what comes,
// a line for each message. Standard input: {"url": …, "token": …, "code": …, "count": …}; ends after `count` messages.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Before node 22 the class is hidden, and before node 20.10 it is only in the package that node has it from.
globalThis.WebSocket ??= createRequire(import.meta.url)('undici').WebSocket;

const { url, token, code, count } = JSON.parse(readFileSync(0, 'utf8'));
const ws = new WebSocket(url);
let left = count;

ws.addEventListener('open', () => {
  // An example's token stands in quotes in its text.
  new Function('ws', code.replaceAll('your-jwt-token', token))(ws);
});
ws.addEventListener('message', (event) => {
  console.log(event.data);
  if (--left === 0) {
    ws.close();
  }
});
ws.addEventListener('error', (event) => {
  console.error(event.message ?? event.error);
  process.exitCode = 1;
});
ws.addEventListener('close', (event) => {
  console.log(JSON.stringify({ closed: event.code }));
});
