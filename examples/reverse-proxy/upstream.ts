import * as http from 'node:http'
import * as https from 'node:https'
import { Socket } from 'node:net'

/** A request as it came in; one of Node's, or what is like it. */
export type Inbound = Pick<http.IncomingMessage, 'method' | 'rawHeaders' | 'headers' | 'pipe'>

/** The upstream gave no response that could be passed on. */
export class BadGateway extends Error {
  readonly statusCode = 502
}

/** Fields of one connection, beside those that `Connection` names (RFC 9110 section 7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization'],
  ...['proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
])

/** Methods whose requests have no content unless a field says so; the others say `Content-Length: 0`. */
const WITHOUT_CONTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])

/**
 * Sends a request on as its client sent it, but for the conditions that the cache puts in their place. Resolves with the
 * head of the response, its body still to be read; rejects with BadGateway where none came.
 */
export function forward(
  upstream: URL,
  target: string,
  request: Inbound,
  answer: http.ServerResponse | undefined,
): Promise<http.IncomingMessage> {
  const { request: send, Agent } = upstream.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const outbound = send(upstream, {
      method: request.method,
      path: target,
      headers: requestLines(request),
      // A kept connection may be closed by the upstream just as it is used, and to try again is not ours to decide.
      agent: new Agent({ keepAlive: false }),
    })
    outbound.once('response', resolve)
    outbound.once('error', (cause) => reject(new BadGateway(`upstream: ${cause.message}`, { cause })))
    outbound.on('information', (interim) => answer && passOn(interim, answer))
    answer?.once('close', () => outbound.destroy())
    request.pipe(outbound)
  })
}

/** Lines of a message that are not its connection's alone: raw, in order, repeated ones kept. */
export function endToEnd(rawHeaders: readonly string[]): [name: string, value: string][] {
  const lines = pairs(rawHeaders)
  const named = lines.filter(([name]) => name.toLowerCase() === 'connection').flatMap(([, value]) => value.split(','))
  const own = new Set([...HOP_BY_HOP, ...named.map((name) => name.trim().toLowerCase())])
  return lines.filter(([name]) => !own.has(name.toLowerCase()))
}

function requestLines({ method = '', rawHeaders, headers }: Inbound): string[] {
  const lines = endToEnd(rawHeaders)
  // Where the content ends is said anew on each connection (RFC 9112 section 6).
  if (headers['transfer-encoding'] !== undefined) lines.push(['Transfer-Encoding', 'chunked'])
  else if (headers['content-length'] === undefined && !WITHOUT_CONTENT.has(method)) lines.push(['Content-Length', '0'])
  return lines.flat()
}

function pairs(list: readonly string[]): [name: string, value: string][] {
  return list.flatMap((text, index) => (index % 2 === 0 ? [[text, list[index + 1] as string]] : []))
}

/** Interim responses are the client's (RFC 9110 section 15.2), where there is one: a refresh in the background has none. */
function passOn({ statusCode, headers }: http.InformationEvent, answer: http.ServerResponse): void {
  if (!(answer.socket instanceof Socket) || answer.headersSent) return
  if (statusCode === 102) answer.writeProcessing()
  try {
    if (statusCode === 103) answer.writeEarlyHints(headers as Record<string, string>)
  } catch {
    // Node refuses some ways to write a Link; the hint is lost, the response is not.
  }
}
