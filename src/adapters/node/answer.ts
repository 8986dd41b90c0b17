import type { ServerResponse } from 'node:http'
import { type Answer, setAnswerFields } from '../answers.js'

/** Sends an answer in place of the handler's. */
export function sendAnswer(response: ServerResponse, { status, fields, body }: Answer): void {
  response.statusCode = status
  setAnswerFields(
    fields,
    (name, value) => response.setHeader(name, value),
    (name, value) => response.appendHeader(name, value),
  )
  response.setHeader('Content-Length', Buffer.byteLength(body))
  response.end(body)
}
