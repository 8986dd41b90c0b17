import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

/** A request as its client sent it. `headers` shows what the cache asks in its place; `rawHeaders` does not. */
export interface Inbound {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingHttpHeaders
  readonly body: NodeJS.ReadableStream
  /** Aborts when the client has gone away. */
  readonly signal: AbortSignal
}

/** The upstream gave no response that could be passed on. */
export class BadGateway extends Error {
  readonly statusCode = 502
}

/** Fields of one connection, beside those that `Connection` names (RFC 9110 section 7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** What the cache may take out of a request, or put in, to have a stored response validated. */
const CONDITIONS: ReadonlySet<string> = new Set(['if-none-match', 'if-modified-since', 'if-range', 'range'])

/** Methods that have no content unless a field says so: their absence of content needs no `Content-Length: 0`. */
const WITHOUT_CONTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])

/** Sends the request on. Resolves with the head of the response; rejects with BadGateway where none came. */
export function forward(upstream: URL, inbound: Inbound): Promise<IncomingMessage> {
  const { method, target, body, signal } = inbound
  const [request, Agent] = upstream.protocol === 'https:' ? [httpsRequest, HttpsAgent] : [httpRequest, HttpAgent]
  return new Promise((resolve, reject) => {
    const outbound = request(upstream, {
      method,
      path: target,
      headers: requestLines(inbound),
      // A kept connection may be closed by the upstream just as it is used, and to try again is not ours to decide.
      agent: new Agent({ keepAlive: false }),
      signal,
    })
    outbound.once('response', resolve)
    outbound.once('error', (cause) => reject(new BadGateway(`upstream: ${cause.message}`, { cause })))
    body.pipe(outbound)
  })
}

/** Lines of a message that are not its connection's alone: raw, in order, repeated ones kept. */
export function endToEnd(rawHeaders: readonly string[]): string[] {
  const named = new Set(HOP_BY_HOP)
  for (const [name, value] of pairs(rawHeaders)) {
    if (name.toLowerCase() === 'connection') for (const one of value.split(',')) named.add(one.trim().toLowerCase())
  }
  return pairs(rawHeaders)
    .filter(([name]) => !named.has(name.toLowerCase()))
    .flat()
}

function requestLines({ method, rawHeaders, headers }: Inbound): string[] {
  const lines = pairs(endToEnd(rawHeaders)).filter(
    ([name, value]) => !CONDITIONS.has(name.toLowerCase()) || headers[name.toLowerCase()] === value,
  )
  const kept = new Set(lines.map(([name]) => name.toLowerCase()))
  for (const name of CONDITIONS) {
    if (headers[name] !== undefined && !kept.has(name)) lines.push([name, String(headers[name])])
  }
  // How the content ends is said anew on each connection (RFC 9112 section 6).
  if (headers['transfer-encoding'] !== undefined) lines.push(['Transfer-Encoding', 'chunked'])
  else if (!kept.has('content-length') && !WITHOUT_CONTENT.has(method)) lines.push(['Content-Length', '0'])
  return lines.flat()
}

function pairs(list: readonly string[]): [name: string, value: string][] {
  return list.flatMap((text, index) => (index % 2 === 0 ? [[text, list[index + 1] as string]] : []))
}
