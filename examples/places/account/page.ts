import type { SessionInfo } from 'redwell'

const STYLE = `
:root { color-scheme: light dark; --line: #d8dee4; --soft: #59636e; --card: #fff; --page: #f4f6f8; --accent: #0969da; --danger: #b42318 }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #9aa4af; --card: #161b22; --page: #0d1117; --accent: #58a6ff; --danger: #ff8a80 }
}
* { box-sizing: border-box }
body { margin: 0; padding: 2rem 1rem; background: var(--page); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 42rem; margin: 0 auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
h1 { margin: 0 0 .25rem; font-size: 1.4rem }
p { margin: 0 0 1.25rem; color: var(--soft) }
ul { margin: 0 0 1.25rem; padding: 0; list-style: none }
li { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .9rem 0; border-top: 1px solid var(--line) }
li div { flex: 1 1 10rem }
small { display: block; color: var(--soft) }
mark { padding: .1rem .5rem; border-radius: 1rem; background: none; border: 1px solid var(--accent); color: var(--accent); font-size: .8rem; white-space: nowrap }
form.actions { display: flex; flex-wrap: wrap; gap: .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line) }
label { display: block; margin-bottom: 1rem }
input { display: block; width: 100%; margin-top: .25rem; padding: .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--page); color: inherit; font: inherit }
button { padding: .55rem 1rem; border: 1px solid var(--line); border-radius: .4rem; background: none; color: inherit; font: inherit; cursor: pointer }
button.main { border-color: var(--accent); color: var(--accent) }
button.danger { border-color: var(--danger); color: var(--danger) }
[role=alert] { color: var(--danger) }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
`

/** `problem`: why the last attempt failed. */
export function signInPage(problem?: string): string {
  return page(
    'Sign in',
    `<p>Any name will do; the password of the demonstration is <code>places</code>.</p>
${problem === undefined ? '' : `<p role="alert">${escaped(problem)}</p>`}
<form method="post" action="/account/sign-in">
<label>Name <input name="user" autocomplete="username" required maxlength="64"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button class="main">Sign in</button>
</form>`,
  )
}

export function devicesPage(user: string, devices: readonly SessionInfo[]): string {
  return page(
    'Your devices',
    `<p>Signed in as ${escaped(user)}.</p>
<ul>
${devices.map(deviceItem).join('\n')}
</ul>
<form class="actions" method="post">
<button class="main" formaction="/account/sign-out">Sign out</button>
<button formaction="/account/sign-out-others">Sign out everywhere else</button>
<button class="danger" formaction="/account/sign-out-everywhere">Sign out everywhere</button>
</form>`,
  )
}

function deviceItem({ handle, descriptor = 'A device', createdAt, lastSeenAt, current }: SessionInfo): string {
  const action = current
    ? '<mark>This device</mark>'
    : `<form method="post" action="/account/devices/${handle}/sign-out"><button>Sign out</button></form>`
  return `<li><div><strong>${escaped(descriptor)}</strong>
<small>Signed in ${timeOf(createdAt)}, last seen ${timeOf(lastSeenAt)}</small></div>
${action}</li>`
}

function timeOf(time: Date): string {
  return `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Places</title><style>${STYLE}</style></head>
<body><main><h1>${title}</h1>
${body}
</main></body>
</html>`
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
