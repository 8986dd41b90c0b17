import type { FastifyReply } from 'fastify'
import type { HeaderList } from '../http/types.js'

/** The fields of a reply as a flat list, repeated lines apart. */
export function readHeaders(reply: FastifyReply): string[] {
  const list: string[] = []
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (Array.isArray(value)) for (const line of value) list.push(name, String(line))
    else if (value !== undefined) list.push(name, String(value))
  }
  return list
}

/** Sets the fields of a list on a reply; lines of one name stay several lines. */
export function writeHeaders(reply: FastifyReply, headers: HeaderList): void {
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    const lines = repeated(headers, name, index)
    if (lines === undefined) reply.header(name, headers[index + 1])
    else if (lines.length > 0) {
      reply.removeHeader(name)
      reply.header(name, lines)
    }
  }
}

/** All lines of a name where it has several and this is the first of them; an empty list at the others. */
function repeated(headers: HeaderList, name: string, at: number): string[] | undefined {
  let lines: string[] | undefined
  for (let index = 0; index < headers.length; index += 2) {
    if (index === at || headers[index] !== name) continue
    if (index < at) return []
    lines ??= [headers[at + 1] as string]
    lines.push(headers[index + 1] as string)
  }
  return lines
}

/** Makes the reply's fields exactly those of a list. */
export function replaceHeaders(reply: FastifyReply, headers: HeaderList): void {
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
  writeHeaders(reply, headers)
}
