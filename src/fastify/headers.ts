import type { FastifyReply } from 'fastify'
import type { HeaderList } from '../http/index.js'

/** The fields of a reply as a flat list, repeated lines apart. */
export function readHeaders(reply: FastifyReply): string[] {
  const list: string[] = []
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (Array.isArray(value)) for (const line of value) list.push(name, line)
    else if (value !== undefined) list.push(name, String(value))
  }
  return list
}

/** Fields by lower-case name; several lines of one name are a list. */
export type Fields = Record<string, string | string[]>

export function toFields(headers: HeaderList): Fields {
  const fields: Fields = {}
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] as string).toLowerCase()
    const value = headers[index + 1] as string
    const before = fields[name]
    fields[name] = before === undefined ? value : [before, value].flat()
  }
  return fields
}

/** Sets the fields of a list on a reply; lines of one name stay several lines. */
export function writeHeaders(reply: FastifyReply, headers: HeaderList): void {
  reply.headers(toFields(headers))
}

/** Makes the reply's fields those of a list, beside the ones that are `kept` (lower case) and not in it. */
export function replaceHeaders(reply: FastifyReply, headers: HeaderList, kept: ReadonlySet<string>): void {
  for (const name of Object.keys(reply.getHeaders())) if (!kept.has(name)) reply.removeHeader(name)
  writeHeaders(reply, headers)
}
