export type Field = readonly [name: string, value: string]

/** A response that is sent instead of the handler's. */
export interface Answer {
  readonly status: number
  readonly fields: readonly Field[]
  readonly body: string | Uint8Array
}

/** A response as functions in options may return it; a web Response works in every framework. */
export interface MadeAnswer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** Strings and bytes are sent unchanged, anything else as JSON. */
  readonly body?: unknown
}

/** The response of an option's function, with the header fields of the refusal. */
export async function answerOf(made: unknown, status: number, own: readonly Field[]): Promise<Answer> {
  const kept = own.filter(isNotBody)
  if (made instanceof Response) {
    const body = new Uint8Array(await made.arrayBuffer())
    return { status: made.status, fields: [...kept, ...[...made.headers]], body }
  }
  const { status: other = status, headers = {}, body = made } = isAnswer(made) ? made : { body: made }
  const isText = typeof body === 'string' || body instanceof Uint8Array
  const type: Field = ['Content-Type', typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json']
  const named = Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')
  return {
    status: other,
    fields: [...kept, ...(named ? [] : [type]), ...Object.entries(headers).flatMap(linesOf)],
    body: isText ? body : JSON.stringify(body ?? null),
  }
}

function linesOf([name, value]: readonly [string, string | readonly string[]]): Field[] {
  return [value].flat().map((line): Field => [name, line])
}

/** Sets the fields of an answer. Each cookie has a line of its own, beside those of others. */
export function setAnswerFields(
  fields: readonly Field[],
  set: (name: string, value: string) => unknown,
  add: (name: string, value: string) => unknown,
): void {
  for (const [name, value] of fields) (name.toLowerCase() === 'set-cookie' ? add : set)(name, value)
}

function isAnswer(made: unknown): made is MadeAnswer {
  return typeof made === 'object' && made !== null && ('body' in made || 'status' in made || 'headers' in made)
}

export function isNotBody([name]: Field): boolean {
  return name !== 'Content-Type'
}
