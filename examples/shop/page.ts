import type { Product } from './catalogue.js'

/** The start page. It greets the signed-in user, so each user needs an entry of their own. */
export function startPage(user: string | undefined, products: readonly Product[]): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>The shop</title></head>
<body>
<h1>${user === undefined ? 'Welcome' : `Welcome back, ${escaped(user)}`}</h1>
<ul>${products.map(({ name, cents }) => `<li>${escaped(name)}: ${(cents / 100).toFixed(2)} €</li>`).join('')}</ul>
</body>
</html>`
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
