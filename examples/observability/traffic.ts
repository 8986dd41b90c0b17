import { setTimeout as sleep } from 'node:timers/promises'

const PRODUCTS = 20
const BETWEEN_MS = 20

/** Visitors of the shop, until the signal: mostly readers, a few writers, and now and then somebody who clears it all. */
export async function visit(origin: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const [method, path] = next()
    // A visitor that is turned away is what the graphs are to show, not the end of the traffic.
    await fetch(origin + path, { method, signal }).then(
      (answer) => answer.arrayBuffer(),
      () => undefined,
    )
    await sleep(BETWEEN_MS)
  }
}

function next(): readonly [method: string, path: string] {
  const product = `/products/${Math.floor(Math.random() * PRODUCTS)}`
  const drawn = Math.random()
  if (drawn < 0.85) return ['GET', product]
  if (drawn < 0.92) return ['GET', '/total']
  if (drawn < 0.95) return ['GET', '/welcome']
  if (drawn < 0.97) return ['GET', '/search']
  return drawn < 0.99 ? ['PUT', product] : ['DELETE', '/products']
}
