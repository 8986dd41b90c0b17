import type { WriteStream } from 'node:tty'
import type { Answer, Call, Client } from './client.js'
import { differences, type Expectation } from './expectation.js'

/** Of the answer, in this order, where it has them. */
const SHOWN_FIELDS = ['cache-control', 'etag', 'age', 'cache-status', 'vary']
const TARGET_WIDTH = 46
const BODY_MAX = 90
const INDENT = ' '.repeat(14)

const COLOURS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
type Colour = keyof typeof COLOURS

/** Asks, prints what came, and keeps count of what was not as expected. */
export class Guide {
  readonly #client: Client
  readonly #out: WriteStream
  readonly #secret: string
  #steps = 0
  #failed = 0

  /** `secret` is not printed. */
  constructor(client: Client, out: WriteStream, secret: string) {
    this.#client = client
    this.#out = out
    this.#secret = secret
  }

  get steps(): number {
    return this.#steps
  }

  /** Steps that were not as expected. */
  get failed(): number {
    return this.#failed
  }

  section(title: string): void {
    this.#print('', this.#paint('bold', title))
  }

  /** One request, with the reason to make it. */
  async step(why: string, call: Call, expected: Expectation): Promise<Answer> {
    const answer = await this.#client.ask(call)
    const found = differences(answer, expected)
    this.#steps += 1
    if (found.length > 0) this.#failed += 1
    this.#print(
      this.#summary(call, answer, found.length === 0),
      `${INDENT}${why}`,
      ...sentLines(call).map((line) => this.#paint('dim', `${INDENT}> ${line.replaceAll(this.#secret, '…')}`)),
      ...receivedLines(answer).map((line) => this.#paint('dim', `${INDENT}< ${line}`)),
      ...found.map((line) => this.#paint('red', `${INDENT}! ${line}`)),
    )
    return answer
  }

  conclude(): void {
    const { steps, failed } = this
    const text = failed === 0 ? `${steps} steps, all as expected.` : `${failed} of ${steps} steps not as expected.`
    this.#print('', this.#paint(failed === 0 ? 'green' : 'red', text))
  }

  #summary({ method, target }: Call, { status, headers, ms }: Answer, ok: boolean): string {
    const cache = headers['x-redis-cache'] ?? '-'
    const columns = [
      String(this.#steps).padStart(4),
      method.padEnd(6),
      target.padEnd(TARGET_WIDTH),
      this.#paint(status < 400 ? 'green' : 'yellow', String(status)),
      this.#paint(cache === 'HIT' ? 'cyan' : 'yellow', cache.padEnd(6)),
      `${ms.toFixed(1).padStart(7)} ms`,
      ok ? this.#paint('green', 'ok') : this.#paint('red', 'NOT AS EXPECTED'),
    ]
    return columns.join('  ')
  }

  #paint(colour: Colour, text: string): string {
    const plain = !this.#out.isTTY || process.env['NO_COLOR'] !== undefined
    return plain ? text : `\u001B[${COLOURS[colour]}m${text}\u001B[0m`
  }

  #print(...lines: string[]): void {
    this.#out.write(`${lines.join('\n')}\n`)
  }
}

function sentLines({ headers = {}, body }: Call): string[] {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return body === undefined ? lines : [...lines, shortened(JSON.stringify(body))]
}

function receivedLines({ headers }: Answer): string[] {
  const fields = SHOWN_FIELDS.filter((name) => headers[name] !== undefined).map((name) => `${name}: ${headers[name]}`)
  return fields.length === 0 ? [] : [fields.join('   ')]
}

function shortened(text: string): string {
  return text.length > BODY_MAX ? `${text.slice(0, BODY_MAX - 1)}…` : text
}
