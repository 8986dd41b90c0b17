import type { IncomingMessage, ServerResponse } from 'node:http'
import { once } from 'node:events'
import { UsageError } from '../errors.js'

/** What a framework may have put onto a request: the address before it was mounted, and the content that it has parsed. */
export interface ParsedMessage {
  readonly originalUrl?: string | undefined
  readonly body?: unknown
}

/** Changes are a few texts. */
const CONTENT_MAX_BYTES = 64 * 1024

/** A request of `node:http` in web form. Rejects where it is malformed or its content is too large. */
export async function toRequest(req: IncomingMessage, { originalUrl, body }: ParsedMessage): Promise<Request> {
  const host = req.headers.host ?? String(req.headers[':authority'] ?? 'localhost')
  const url = new URL(`http://${host}${pathOf(originalUrl ?? req.url ?? '/')}`)
  const headers = new Headers({ host })
  for (const [name, value] of Object.entries(req.headers)) {
    if (name.startsWith(':') || name === 'host' || value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one)
  }
  const method = req.method ?? 'GET'
  if (method === 'GET' || method === 'HEAD') return new Request(url, { method, headers })
  return new Request(url, { method, headers, body: await contentOf(req, body) })
}

/** What a body parser before the dashboard has left, or else the content itself. */
async function contentOf(req: IncomingMessage, body: unknown): Promise<string> {
  if (typeof body === 'string' || Buffer.isBuffer(body)) return body.toString()
  // Parsers leave an empty object also where they have not read what is not theirs.
  const isEmpty = body === undefined || JSON.stringify(body) === '{}'
  if (!isEmpty) return JSON.stringify(body)
  if (!req.readableDidRead) return readContent(req)
  if (body !== undefined) return JSON.stringify(body)
  throw new UsageError(
    'A body parser has read the content before the dashboard and did not leave it in req.body: mount the dashboard before the parser (koa-body: or set patchNode).',
  )
}

/** Path and query; a proxy may be sent a whole URL. */
function pathOf(target: string): string {
  if (target.startsWith('/')) return target
  const { pathname, search } = new URL(target)
  return pathname + search
}

async function readContent(req: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of req) {
    const bytes = Buffer.from(part as Uint8Array)
    size += bytes.length
    if (size > CONTENT_MAX_BYTES) throw new RangeError('The content is too large.')
    parts.push(bytes)
  }
  return Buffer.concat(parts).toString()
}

/** Sends a web response; ends its stream when the client goes. */
export async function send(res: ServerResponse, response: Response): Promise<void> {
  res.statusCode = response.status
  for (const [name, value] of response.headers) if (name !== 'set-cookie') res.setHeader(name, value)
  // A stream that ends when the server closes must not leave its connection open for a next request.
  const isStream = response.headers.get('content-type') === 'text/event-stream'
  if (isStream && res.req.httpVersionMajor === 1) res.setHeader('connection', 'close')
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0) res.setHeader('set-cookie', cookies)
  if (response.body === null || res.req.method === 'HEAD') {
    await response.body?.cancel()
    res.end()
    return
  }
  const reader = response.body.getReader()
  const gone = (): void => void reader.cancel().catch(() => {})
  res.once('close', gone)
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read())
      if (!res.write(part.value)) await Promise.race([once(res, 'drain'), once(res, 'close')])
  } catch {
    // The client has gone, or the stream has failed: what was sent cannot be taken back.
  }
  res.off('close', gone)
  res.end()
}
