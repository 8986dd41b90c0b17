import { masked } from './secret.js'
import type { Address } from './settings.js'

export const DEFAULT_PORT = 6379

export interface ParsedUrl {
  readonly nodes: readonly Address[]
  readonly tls: boolean
  readonly db: number | undefined
  readonly username: string | undefined
  readonly password: string | undefined
}

const SHAPE = /^(rediss?):\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/(\d*))?\/?$/i

/**
 * `redis[s]://[[username]:password@]host[:port][,host[:port]…][/db]`. The WHATWG parser refuses several hosts, so the
 * shape is read here and each host by it. Problems never show the credentials.
 */
export function parseUrl(url: string, problems: string[]): ParsedUrl | undefined {
  const match = SHAPE.exec(url)
  if (match === null) {
    problems.push(`url: '${masked(url)}' is not redis://[[username]:password@]host[:port][/db], rediss://… or memory:`)
    return undefined
  }
  const [, scheme, userinfo, hosts, db] = match as unknown as [
    string,
    string,
    string | undefined,
    string,
    string | undefined,
  ]
  const nodes = parseAddresses(hosts, DEFAULT_PORT, 'url', problems)
  return {
    nodes,
    tls: scheme.toLowerCase() === 'rediss',
    db: db === undefined || db === '' ? undefined : Number(db),
    ...parseUserinfo(userinfo, problems),
  }
}

function parseUserinfo(userinfo: string | undefined, problems: string[]): Pick<ParsedUrl, 'username' | 'password'> {
  if (userinfo === undefined || userinfo === '') return { username: undefined, password: undefined }
  const colon = userinfo.indexOf(':')
  try {
    const username = decodeURIComponent(colon === -1 ? userinfo : userinfo.slice(0, colon))
    const password = colon === -1 ? undefined : decodeURIComponent(userinfo.slice(colon + 1))
    return { username: username === '' ? undefined : username, password }
  } catch {
    problems.push('url: its username or password is not percent-encoded properly')
    return { username: undefined, password: undefined }
  }
}

/** A list of nodes, or one text with commas between them; one problem for the whole list. */
export function parseAddresses(
  list: string | readonly string[],
  defaultPort: number,
  name: string,
  problems: string[],
): readonly Address[] {
  const texts = (typeof list === 'string' ? list.split(',') : list).filter((text) => text.trim() !== '')
  const nodes = texts.map((text) => parseAddress(text, defaultPort)).filter((node) => node !== undefined)
  if (texts.length === 0) problems.push(`${name} must name at least one host[:port]`)
  else if (nodes.length < texts.length) problems.push(`${name}: '${masked(texts.join(','))}' is not host[:port]`)
  return nodes
}

/** `host`, `host:port`, `[ipv6]:port`. */
function parseAddress(text: string, defaultPort: number): Address | undefined {
  try {
    const url = new URL(`http://${text.trim()}`)
    const port = url.port === '' ? defaultPortOf(text, defaultPort) : Number(url.port)
    const bare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
    if (!bare || url.password !== '' || url.hostname === '' || port === 0) return undefined
    return { host: url.hostname.replace(/^\[|\]$/g, ''), port }
  } catch {
    return undefined
  }
}

/** The WHATWG parser drops port 80 as the default of its scheme. */
function defaultPortOf(text: string, defaultPort: number): number {
  return text.trim().endsWith(':80') ? 80 : defaultPort
}
