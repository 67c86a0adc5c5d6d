"""The style sheet of the documentation page. It stands inside the page, where `<`, `>` and `&` cannot."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --faint: #59636e; --paper: #fff; --panel: #f4f6f8;
  --line: #d5dbe1; --link: #0b5cad; --get: #0b6e4f; --post: #8a4b08; --other: #5b3a9e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e7eb; --faint: #a0abb6; --paper: #14181c; --panel: #1d2329; --line: #38424c;
    --link: #7ab8f5; --get: #63d2a6; --post: #f0b36b; --other: #c0a5f5 }
}
* { box-sizing: border-box }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100% }
body { margin: 0; color: var(--ink); background: var(--paper); font: 1rem/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere }
a { color: var(--link) }
a:focus-visible, summary:focus-visible, pre:focus-visible { outline: 2px solid var(--link);
  outline-offset: 2px }
code, pre, .path { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em }
code { background: var(--panel); padding: .05em .3em; border-radius: 3px }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  white-space: pre-wrap; margin: .4rem 0 }
pre code { padding: 0; background: none; font-size: 1em }
h1 { font-size: 1.6rem; margin: 0 0 .5rem } h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem }
h3 { font-size: 1.1rem; margin: 2rem 0 .5rem; color: var(--faint) }
h4 { font-size: 1.05rem; margin: 0 0 .3rem }
h5 { font-size: .9rem; margin: 1rem 0 .3rem; color: var(--faint) }
nav, main { padding: 1rem }
nav { background: var(--panel); border-bottom: 1px solid var(--line) }
nav ul { list-style: none; margin: .2rem 0 .8rem; padding: 0 } nav li { margin: .15rem 0 }
nav a { text-decoration: none } nav a:hover { text-decoration: underline }
nav .group { color: var(--faint); font-size: .85rem; margin: .6rem 0 0 }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0 }
article { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 1rem 0 }
article:target { border-color: var(--link) }
.method { display: inline-block; min-width: 3.2em; font-weight: 700; font-size: .85em; color: var(--other) }
.get { color: var(--get) } .post { color: var(--post) }
.who, .note { color: var(--faint); font-size: .9rem; margin: .3rem 0 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line) }
th { color: var(--faint); font-weight: 600 }
.refusals a { display: inline-block; margin-right: .6rem }
@media (min-width: 60rem) {
  body { display: grid; grid-template-columns: 20rem minmax(0, 54rem); gap: 0 1rem }
  nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; border: 0;
    border-right: 1px solid var(--line) }
  main { padding: 1.5rem 2rem }
}
@media print { nav { display: none } body { display: block } article { break-inside: avoid } }
"""
