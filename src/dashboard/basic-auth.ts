import { createHash, timingSafeEqual } from 'node:crypto'
import type { GuardVerdict } from './dashboard.js'

/** Options of `basicAuth`. */
export interface BasicAuthOptions {
  /** User name; must not be empty. */
  readonly username: string
  /** Password; must not be empty. */
  readonly password: string
}

/**
 * Returns a guard that requires a user name and a password (RFC 7617), for applications without operator accounts. Use it
 * over TLS only. Throws TypeError if one of them is empty,
 * or the user name has a colon.
 *
 * @example
 * dashboard(redis, { guard: basicAuth({ username: 'ops', password: process.env.OPS_PASSWORD }) })
 */
export function basicAuth({ username, password }: BasicAuthOptions): (request: Request) => GuardVerdict {
  if (!username || !password) throw new TypeError('basicAuth: username and password must not be empty')
  // RFC 7617 ends the user name at the first colon.
  if (username.includes(':')) throw new TypeError('basicAuth: username must not contain a colon')
  const wanted = digestOf(`${username}:${password}`)
  return (request) => {
    const [, given = ''] = /^basic ([a-z0-9+/=]+)$/i.exec(request.headers.get('authorization') ?? '') ?? []
    // Digests, because texts of different lengths cannot be compared in constant time.
    if (timingSafeEqual(digestOf(Buffer.from(given, 'base64').toString()), wanted)) return true
    const headers = { 'www-authenticate': 'Basic realm="redwell", charset="UTF-8"', 'cache-control': 'no-store' }
    return new Response('Authentication required.', { status: 401, headers })
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
