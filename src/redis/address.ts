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
export function parseUrl(name: string, url: string, problems: string[]): ParsedUrl | undefined {
  const [, scheme, userinfo = '', hosts, db = ''] = SHAPE.exec(url) ?? []
  if (scheme === undefined || hosts === undefined) {
    const meant = url !== '' && HOST.test(url) ? `; did you mean 'redis://${url}'?` : ''
    problems.push(
      `${name}: '${masked(url)}' is not redis://[[username]:password@]host[:port][/db], rediss://… or memory:${meant}`,
    )
    return undefined
  }
  return {
    nodes: parseAddresses(name, hosts, DEFAULT_PORT, problems),
    tls: scheme.toLowerCase() === 'rediss',
    db: db === '' ? undefined : Number(db),
    ...parseUserinfo(name, userinfo, problems),
  }
}

function parseUserinfo(name: string, userinfo: string, problems: string[]): Pick<ParsedUrl, 'username' | 'password'> {
  const colon = userinfo.indexOf(':')
  try {
    const username = decodeURIComponent(colon === -1 ? userinfo : userinfo.slice(0, colon))
    const password = colon === -1 ? undefined : decodeURIComponent(userinfo.slice(colon + 1))
    return { username: username === '' ? undefined : username, password }
  } catch {
    problems.push(`${name}: its username or password is not properly percent-encoded`)
    return { username: undefined, password: undefined }
  }
}

/** A list of nodes, or one text with commas between them. Reports one problem for the whole list. */
export function parseAddresses(
  name: string,
  list: string | readonly string[],
  defaultPort: number,
  problems: string[],
): readonly Address[] {
  const texts = (typeof list === 'string' ? list.split(',') : list).filter((text) => text.trim() !== '')
  const nodes = texts.map((text) => parseAddress(text, defaultPort)).filter((node) => node !== undefined)
  if (texts.length === 0) problems.push(`${name}: must name at least one host[:port]`)
  else if (nodes.length < texts.length) problems.push(`${name}: '${masked(texts.join(','))}' is not host[:port]`)
  return nodes
}

/** `host`, `host:port`, `[ipv6]:port`. */
function parseAddress(text: string, defaultPort: number): Address | undefined {
  try {
    const url = new URL(`http://${text.trim()}`)
    const bare = url.pathname === '/' && `${url.search}${url.hash}${url.username}${url.password}` === ''
    // The WHATWG parser drops port 80 as the default of its scheme.
    const impliedPort = text.trim().endsWith(':80') ? 80 : defaultPort
    const port = url.port === '' ? impliedPort : Number(url.port)
    return bare && url.hostname !== '' && port !== 0 ? { host: url.hostname.replace(/^\[|\]$/g, ''), port } : undefined
  } catch {
    return undefined
  }
}

const AUTHORITY = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@/?#]*)(.*)$/is

/** A host and its port; the port may have a letter too many, which is a typo and no password. */
const HOST = /^\s*(\[[0-9a-f:.]+\]|[a-z0-9._-]+)?(:\d{0,5}|:\d{2,4}[a-z])?\s*$/i

const DATABASE = /^(\/\d*)?$/

/**
 * What a message may show of a wrong address: its scheme and hosts. From the first text that is no host on everything
 * is masked, because that may be a password whose `@host` was forgotten, commas and all.
 */
export function masked(text: string): string {
  const [, scheme = '', userinfo, list = '', rest = ''] = AUTHORITY.exec(text) ?? []
  const hosts = list.split(',')
  const wrong = hosts.findIndex((host) => !HOST.test(host))
  const shown = wrong === -1 ? list : [...hosts.slice(0, wrong), '***'].join(',')
  return `${scheme}${userinfo === undefined ? '' : '***@'}${shown}${DATABASE.test(rest) ? rest : '/…'}`
}
