/** A question to the application, relative to the page wherever it is mounted. */
export async function ask(name, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '')
  return answerOf(await fetch(`api/${name}?${new URLSearchParams(given)}`, { credentials: 'same-origin' }))
}

/** A change. The field tells the application that no other site has sent it. */
export async function change(name, content) {
  const headers = { 'content-type': 'application/json', 'x-redwell': '1' }
  const body = JSON.stringify(content)
  return answerOf(await fetch(`api/${name}`, { method: 'POST', headers, body, credentials: 'same-origin' }))
}

async function answerOf(response) {
  const content = await response.json().catch(() => null)
  if (response.ok) return content
  throw new Error(content?.problem ?? `The application answered ${response.status}.`)
}
