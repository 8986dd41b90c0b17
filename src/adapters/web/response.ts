import { setImmediate as nextTurn } from 'node:timers/promises'
import type { HeaderList, OutgoingResponse } from '../../http/index.js'
import type { Capture } from '../../route/capture.js'
import { type Field, fieldLines, fieldsOf, type FieldTarget, groupFields, setFields } from '../fields.js'

/** `Headers` as the fields of a response that is being written. */
export function targetOf(headers: Headers): FieldTarget {
  return {
    getHeader: (name) => headers.get(name) ?? undefined,
    getHeaderNames: () => [...headers.keys()],
    setHeader(name, value) {
      headers.delete(name)
      for (const line of [value].flat()) headers.append(name, line)
    },
    removeHeader: (name) => headers.delete(name),
  }
}

/** The fields of a response as a flat list. Headers keep the lines of Set-Cookie apart, and join all others. */
export function listHeaders(headers: Headers): string[] {
  return [...headers].flat()
}

/** An answer from the cache, with the fields that were set before. */
export function hitResponse(outgoing: OutgoingResponse, ambient: Headers): Response {
  const fields = fieldsOf(outgoing)
  if (ambient.keys().next().done === true) return responseOf(outgoing.status, initOf(fields), outgoing.body)
  const headers = new Headers(ambient)
  setFields(targetOf(headers), fields)
  return responseOf(outgoing.status, headers, outgoing.body)
}

/** A response with the fields of a list. */
export function listedResponse(
  status: number,
  headers: HeaderList,
  body: Uint8Array | ReadableStream<Uint8Array> | null,
): Response {
  const fields = groupFields(headers)
  const init = fields.some(({ value }) => Array.isArray(value)) ? [...fieldLines(headers)].map(pairOf) : initOf(fields)
  return responseOf(status, init, body)
}

function pairOf([name, value]: readonly [string, string]): [string, string] {
  return [name, value]
}

/** A plain object is what servers send without looking into it. */
function initOf(fields: readonly Field[]): Record<string, string> | [string, string][] {
  const init: Record<string, string> = {}
  for (const { name, value } of fields) {
    if (typeof value !== 'string')
      return fields.flatMap((field) => [field.value].flat().map((line) => pairOf([field.name, line])))
    init[name] = value
  }
  return init
}

function responseOf(
  status: number,
  headers: Headers | Record<string, string> | [string, string][],
  body: Uint8Array | ReadableStream<Uint8Array> | null,
): Response {
  return new Response(hasNoContent(status) ? null : body, { status, headers })
}

/** Statuses with which `new Response` refuses a body. */
function hasNoContent(status: number): boolean {
  return status === 304 || status === 204 || status === 205
}

/** Reads until the end of a whole body: one chunk, and the end. */
const READS_MAX = 2

/** A body whose end is not there yet: what was read of it, and what is still to be read. */
export interface Rest {
  readonly chunks: Uint8Array[]
  readonly pending: ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']> | undefined
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
}

/**
 * The body of a response, if it is there already. A Response does not say whether its body is a text or a stream, and a
 * stream must not be waited for: what cannot be read to its end within this turn of the event loop is one.
 */
export async function readBody({ body, headers }: Response): Promise<Buffer | Rest> {
  if (body === null) return Buffer.alloc(0)
  const reader = body.getReader()
  const chunks: Uint8Array[] = []
  if (headers.has('transfer-encoding')) return { chunks, pending: undefined, reader }
  const turn = nextTurn()
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    const pending = reader.read()
    // The reader of the response sees the error of a broken body.
    const result = await Promise.race([pending, turn]).catch(() => undefined)
    if (result === undefined) return { chunks, pending, reader }
    if (result.done) return Buffer.concat(chunks)
    chunks.push(result.value)
  }
  return { chunks, pending: undefined, reader }
}

/** The rest of a body on its way out, copied at the pace of its reader. Its copy is complete before its end is sent. */
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
