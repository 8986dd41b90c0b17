import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/** What the methods of a response are called with; for `write` and `end` chunk, encoding and callback, each optional. */
export type Args = readonly unknown[]

/** Like Node's `writeHead`, with its three forms of fields, but without sending. */
export function setHead(response: ServerResponse, [status, reason, third]: Args): void {
  const fields = typeof reason === 'string' ? third : reason
  response.statusCode = Number(status)
  if (typeof reason === 'string') response.statusMessage = reason
  if (!Array.isArray(fields)) {
    const lines = Object.entries((fields ?? {}) as OutgoingHttpHeaders)
    for (const [name, value] of lines) if (value !== undefined) response.setHeader(name, value)
    return
  }
  // A list may contain a field several times; it overrides earlier values.
  const list: readonly unknown[] = Array.isArray(fields[0]) ? fields.flat() : fields
  for (let index = 0; index < list.length; index += 2) response.removeHeader(String(list[index]))
  for (let index = 0; index < list.length; index += 2) {
    response.appendHeader(String(list[index]), String(list[index + 1]))
  }
}

/** Undefined if the first argument is a callback or missing. */
export function bytesOf([chunk, encoding]: Args): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk !== 'string') return Buffer.alloc(0)
  return Buffer.from(chunk, typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8')
}

export function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}
