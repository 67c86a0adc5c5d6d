// A real OpenID provider with one client. node provider.mjs PORT REDIRECT_URI[,…] KEY_ID
// `login_hint` names who logs in; `deny` refuses. Reads nothing and keeps nothing.
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';

const [port, redirects, kid] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const roles = (...names) => ({ appliance: { roles: names } });
const people = {
  alice: { email: 'alice@example.test', name: 'Alice', resource_access: roles('system-admin') },
  bob: { email: 'bob@example.test', name: 'Bob', resource_access: roles('guest') },
  mallory: { email: 'alice@example.test', email_verified: false, name: 'Mallory' },
};
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'appliance', client_secret: 'provider secret', redirect_uris: redirects.split(','),
    post_logout_redirect_uris: [new URL(redirects.split(',')[0]).origin + '/'], response_types: ['code'],
    grant_types: ['authorization_code'], token_endpoint_auth_method: 'client_secret_basic',
  }],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }] },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true, methods: ['S256'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'resource_access'] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_, id) => people[id] && {
    accountId: id, claims: () => ({ sub: id, email_verified: true, ...people[id] }),
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  async loadExistingGrant(context) {
    const { client, session } = context.oidc;
    const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid email profile');
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();
http.createServer(async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  const { params } = await provider.interactionDetails(request, response);
  const who = params.login_hint ?? 'alice';
  const result = who === 'deny'
    ? { error: 'access_denied', error_description: 'as the user wants' }
    : { login: { accountId: who } };
  return provider.interactionFinished(request, response, result);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
