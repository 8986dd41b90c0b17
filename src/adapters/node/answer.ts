import type { ServerResponse } from 'node:http'
import { type Field, setAnswerFields } from '../answers.js'

/** Sets the fields of an answer that is sent instead of the handler's. */
export function setNodeFields(response: ServerResponse, fields: readonly Field[]): void {
  setAnswerFields(
    fields,
    (name, value) => response.setHeader(name, value),
    (name, value) => response.appendHeader(name, value),
  )
}
