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

/** Sets the fields of a list on a reply; lines of one name stay several lines. */
export function writeHeaders(reply: FastifyReply, headers: HeaderList): void {
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    reply.header(name, stoodBefore(headers, name, index) ? linesOf(headers, name) : headers[index + 1])
  }
}

function stoodBefore(headers: HeaderList, name: string, end: number): boolean {
  for (let index = 0; index < end; index += 2) if (headers[index] === name) return true
  return false
}

function linesOf(headers: HeaderList, name: string): string[] {
  return headers.filter((_, index) => index % 2 === 1 && headers[index - 1] === name)
}

/** Makes the reply's fields exactly those of a list. */
export function replaceHeaders(reply: FastifyReply, headers: HeaderList): void {
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
  writeHeaders(reply, headers)
}
