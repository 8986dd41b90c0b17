import type { IncomingMessage } from 'node:http'
import type { RequestFields } from '../route/request-fields.js'

/** Lets the handler see other values of some request fields than the client sent, by name and in the raw list alike. */
export function applyRequestFields(message: IncomingMessage, fields: RequestFields): void {
  if (fields.size === 0) return
  const { headers } = message
  const rawHeaders = message.rawHeaders.filter(
    (_, index) => !fields.has((message.rawHeaders[index - (index % 2)] as string).toLowerCase()),
  )
  for (const [name, value] of fields) {
    if (value === undefined) delete headers[name]
    else {
      headers[name] = value
      rawHeaders.push(name, value)
    }
  }
  message.rawHeaders = rawHeaders
}

/** Tells when one of these fields is read, whether the request has it or not. */
export function watchFields(
  headers: Record<string, unknown>,
  names: readonly string[],
  read: (name: string) => void,
): void {
  for (const name of names) {
    const present = Object.hasOwn(headers, name)
    let value = headers[name]
    Object.defineProperty(headers, name, {
      configurable: true,
      enumerable: present,
      get() {
        read(name)
        return value
      },
      set(next: unknown) {
        value = next
      },
    })
  }
}
