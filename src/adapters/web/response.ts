import type { Context } from 'hono'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { HeaderList, OutgoingResponse } from '../../http/index.js'
import type { Capture } from '../../route/capture.js'

/** Fields as `new Response` takes them: the plain object is what servers send without looking into it. */
type Init = Record<string, string> | [string, string][]

/** The fields that were set for whatever response comes, by the middlewares before. */
export function ambientFields(c: Context): Headers {
  return c.newResponse(null).headers
}

/** The fields of a response as a flat list. Headers know the lines of Set-Cookie apart, and join all others. */
export function listFields(headers: Headers): string[] {
  return [...headers].flat()
}

/** Answers with what is complete, beside the fields that were set before. */
export function answer(c: Context, outgoing: OutgoingResponse): void {
  // Hits of the same second give the same object, so what a response needs of it is made once.
  outgoing.memo ??= toInit(outgoing.headers)
  const ambient = ambientFields(c)
  const isAlone = ambient.keys().next().done === true
  replace(c, outgoing.body, outgoing.status, isAlone ? (outgoing.memo as Init) : joined(ambient, outgoing.headers))
}

/** Puts this response in the place of the one that is there. Hono would add the fields of the old one to the new. */
export function replace(
  c: Context,
  body: Uint8Array | ReadableStream<Uint8Array> | null,
  status: number,
  headers: HeaderList | Init | Headers,
): void {
  c.res = undefined
  c.res = new Response(hasNoContent(status) ? null : body, {
    status,
    headers: isList(headers) ? toInit(headers) : headers,
  })
}

function isList(headers: HeaderList | Init | Headers): headers is HeaderList {
  return Array.isArray(headers) && typeof headers[0] === 'string'
}

/** Statuses with which `new Response` refuses a body. */
function hasNoContent(status: number): boolean {
  return status === 304 || status === 204 || status === 205
}

function toInit(headers: HeaderList): Init {
  const fields: Record<string, string> = {}
  const seen = new Set<string>()
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    if (seen.has(name.toLowerCase())) return toPairs(headers)
    seen.add(name.toLowerCase())
    fields[name] = headers[index + 1] as string
  }
  return fields
}

function toPairs(headers: HeaderList): [string, string][] {
  return Array.from({ length: headers.length / 2 }, (_, n) => [headers[2 * n] as string, headers[2 * n + 1] as string])
}

function joined(ambient: Headers, headers: HeaderList): Headers {
  const all = new Headers(ambient)
  for (const [name] of toPairs(headers)) all.delete(name)
  for (const [name, value] of toPairs(headers)) all.append(name, value)
  return all
}

/** A whole body gives one chunk and its end. */
const READS_MAX = 2

/** A body whose end is not there yet: what was read of it, and what is still to be read. */
export interface Rest {
  readonly chunks: Uint8Array[]
  readonly pending: ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']> | undefined
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
}

/**
 * The body of a response, if it is there already. Responses do not tell a text from a stream, and a stream must not be
 * waited for; so what cannot be read to its end within this turn of the event loop is one. `streams`: its author says so.
 */
export async function readBody(body: ReadableStream<Uint8Array> | null, streams: boolean): Promise<Buffer | Rest> {
  if (body === null) return Buffer.alloc(0)
  const reader = body.getReader()
  const chunks: Uint8Array[] = []
  if (streams) return { chunks, pending: undefined, reader }
  const turn = nextTurn()
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    const pending = reader.read()
    // A body that breaks is broken for who reads on.
    const result = await Promise.race([pending, turn]).catch(() => undefined)
    if (result === undefined) return { chunks, pending, reader }
    if (result.done) return toBuffer(chunks)
    chunks.push(result.value)
  }
  return { chunks, pending: undefined, reader }
}

function toBuffer(chunks: readonly Uint8Array[]): Buffer {
  const [only] = chunks
  if (chunks.length !== 1 || only === undefined) return Buffer.concat(chunks)
  return Buffer.from(only.buffer, only.byteOffset, only.byteLength)
}

/**
 * The rest of a body on its way out, copied beside, at the pace of who reads it. Complete before its end leaves: who asks
 * next finds it stored.
 */
export function passOn({ chunks, pending, reader }: Rest, capture: Capture | undefined): ReadableStream<Uint8Array> {
  let ahead = pending
  const next = async (): Promise<Uint8Array | undefined> => {
    const chunk = chunks.shift()
    if (chunk !== undefined) return chunk
    const reading = ahead ?? reader.read()
    ahead = undefined
    return (await reading).value
  }
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const chunk = await next()
          if (chunk === undefined) await capture?.complete()
          else capture?.write(chunk)
          if (chunk === undefined) controller.close()
          else controller.enqueue(chunk)
        } catch (error) {
          capture?.abort()
          throw error
        }
      },
      cancel(reason) {
        capture?.abort()
        return reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}
