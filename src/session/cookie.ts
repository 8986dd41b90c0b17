import { parseId, type SessionId } from './id.js'

/** The session cookie's attributes with everything decided. */
export interface CookiePolicy {
  readonly name: string
  readonly path: string
  readonly domain: string | undefined
  readonly secure: boolean
  readonly sameSite: 'lax' | 'strict' | 'none'
  readonly partitioned: boolean
  readonly persistent: boolean
}

/** How a request came; what the adapter does not know is undefined. */
export interface Peer {
  /** Over TLS, as far as this process sees it. */
  readonly encrypted: boolean
  readonly remoteAddress: string | undefined
  readonly localAddress: string | undefined
  /** A proxy has left its mark (`Forwarded`, `X-Forwarded-…`). */
  readonly forwarded: boolean
}

const PREFIX = /^__(Host|Secure)-/

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+)$/i

/**
 * The attributes for a request. A developer's own machine (`NODE_ENV` is `development` or `test`) speaks plain HTTP to
 * itself, where browsers treat Secure cookies differently; everywhere else the policy counts. Where it is not known how
 * the request came, it is seen by the cookie that it has.
 */
export function cookieFor(
  policy: CookiePolicy,
  local: CookiePolicy | undefined,
  {
    cookieHeader,
    peer: peerOf,
  }: { readonly cookieHeader: string | undefined; readonly peer?: (() => Peer) | undefined },
): CookiePolicy {
  if (local === undefined) return policy
  const peer = peerOf?.()
  if (peer === undefined) {
    const has = ({ name }: CookiePolicy): boolean => typeof readCookie(cookieHeader, name) === 'object'
    return !has(policy) && has(local) ? local : policy
  }
  if (peer.encrypted || peer.forwarded) return policy
  return LOOPBACK.test(peer.remoteAddress ?? '') && LOOPBACK.test(peer.localAddress ?? '') ? local : policy
}

/** The attributes on a developer's own machine; undefined where those of the policy count everywhere. */
export function localCookie(policy: CookiePolicy, env: string | undefined): CookiePolicy | undefined {
  if (env !== 'development' && env !== 'test') return undefined
  if (!policy.secure || policy.sameSite === 'none' || policy.partitioned) return undefined
  return { ...policy, name: policy.name.replace(PREFIX, ''), secure: false }
}

export const LOST_ON_PLAIN_HTTP =
  'redwell: a Secure session cookie was sent over plain HTTP, where browsers ignore it. Use HTTPS, make the HTTPS proxy set X-Forwarded-Proto, or set NODE_ENV=development on your machine.'

/** Whether a Secure cookie is about to leave on plain HTTP: some browsers drop it. */
export function isLostOnPlainHttp({ secure }: CookiePolicy, peer: Peer | undefined): boolean {
  return secure && peer !== undefined && !peer.encrypted && !peer.forwarded
}

/**
 * The id in a `Cookie` field. A subdomain may set a cookie of the same name, so the first that can be ours counts.
 * `malformed`: there are only others.
 */
export function readCookie(header: string | undefined, name: string): SessionId | 'malformed' | undefined {
  if (header === undefined || !header.includes(name)) return undefined
  let found: 'malformed' | undefined
  for (const pair of header.split(';')) {
    const start = pair.indexOf('=')
    if (start === -1 || pair.slice(0, start).trim() !== name) continue
    const value = pair.slice(start + 1).trim()
    const id = parseId(value)
    if (id !== undefined) return id
    if (value !== '') found = 'malformed'
  }
  return found
}

/** A `Set-Cookie` line. `maxAge` in seconds; undefined: until the browser ends. */
export function cookieLine(policy: CookiePolicy, id: SessionId, maxAge: number): string {
  return line(policy, id.text, policy.persistent ? maxAge : undefined)
}

/** The line that removes the cookie. */
export function clearingLine(policy: CookiePolicy): string {
  return line(policy, '', 0)
}

function line(policy: CookiePolicy, value: string, maxAge: number | undefined): string {
  const { name, path, domain, secure, sameSite, partitioned } = policy
  const age = maxAge === undefined ? '' : `; Max-Age=${Math.max(0, Math.floor(maxAge))}`
  return `${name}=${value}${age}${domain === undefined ? '' : `; Domain=${domain}`}; Path=${path}; HttpOnly${
    secure ? '; Secure' : ''
  }; SameSite=${SAME_SITE[sameSite]}${partitioned ? '; Partitioned' : ''}`
}

const SAME_SITE = { lax: 'Lax', strict: 'Strict', none: 'None' } as const

/** A cookie-name is a token (RFC 6265 section 4.1.1). */
function isCookieName(name: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)
}

/** Everything that contradicts itself or that browsers refuse. */
export function cookieProblems(policy: CookiePolicy): string[] {
  const { name, path, domain, secure, sameSite, partitioned } = policy
  const problems: string[] = []
  const refuse = (wrong: boolean, problem: string): void => void (wrong && problems.push(problem))
  refuse(!isCookieName(name), `cookie.name: '${name}' is not a cookie name`)
  refuse(!/^\/[\x20-\x3a\x3c-\x7e]*$/.test(path), `cookie.path: '${path}' must start with / and must not contain ;`)
  refuse(
    domain !== undefined && !/^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$/.test(domain),
    `cookie.domain: '${domain}' is not a domain`,
  )
  refuse(sameSite === 'none' && !secure, 'cookie.sameSite: `none` needs `secure`, or browsers drop the cookie')
  refuse(partitioned && !secure, 'cookie.partitioned: needs `secure`, or browsers drop the cookie')
  const host = /^__Host-/i.test(name)
  refuse(/^__(Host|Secure)-/i.test(name) && !secure, `cookie.name: the prefix of ${name} needs \`secure\``)
  refuse(
    host && domain !== undefined,
    `cookie.domain: a cookie named ${name} must not have a domain; remove it, or rename the cookie`,
  )
  refuse(host && path !== '/', `cookie.path: a cookie named ${name} must have the path /`)
  return problems
}
