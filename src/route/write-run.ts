import type { Place } from '../cache/place.js'
import type { Write } from '../cache/write.js'
import type { HeaderList } from '../http/index.js'
import type { MaybePromise } from '../store/port.js'
import { checkedNames } from './locate.js'
import type { WriteResult } from './options.js'

/** A response to a write, as far as somebody asks for it. */
export interface WriteAnswer {
  readonly status: number
  headers(): HeaderList
  /** Undefined where it is a stream. */
  body(): Buffer | undefined
}

/** A write-through whose handler may run. */
export interface Announced {
  readonly place: Place | undefined
  /** Undefined where the store was away when the handler began. */
  readonly write: Write | undefined
  readonly names: readonly string[]
}

/** Ends a write with its answer and the groups that its handler has named. */
type Finish = (answer: WriteAnswer, groups: readonly string[]) => MaybePromise<HeaderList | undefined>

/** One request of a write route. */
export class WriteRun {
  readonly #finish: Finish
  readonly #announced: Announced | undefined
  #groups: readonly string[] = []
  #open = true

  constructor(finish: Finish, announced?: Announced) {
    this.#finish = finish
    this.#announced = announced
  }

  /**
   * Leaves to another run of this request what was announced. Announced anew, it would be one of two writers, which
   * fence each other.
   */
  handOver(): Announced | undefined {
    if (!this.#open) return undefined
    this.#open = false
    return this.#announced
  }

  /** The handler names groups that the entry of its answer belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    this.#groups = [...this.#groups, ...checkedNames(names)]
  }

  /**
   * The handler has answered. When this resolves, what it invalidates is invalid everywhere. Gives the fields to send,
   * or undefined where they stay as they are.
   */
  finish(answer: WriteAnswer): MaybePromise<HeaderList | undefined> {
    if (!this.#open) return undefined
    this.#open = false
    return this.#finish(answer, this.#groups)
  }

  /** The handler threw, or its client went away before it answered. */
  abandon(): void {
    if (!this.#open) return
    this.#open = false
    this.#announced?.write?.cancel().catch(() => {})
  }
}

/** What the functions of the options are given of an answer. */
export class Result implements WriteResult {
  readonly answer: WriteAnswer
  #json: { readonly value: unknown } | undefined

  constructor(answer: WriteAnswer) {
    this.answer = answer
  }

  get status(): number {
    return this.answer.status
  }

  body(): Buffer | undefined {
    return this.answer.body()
  }

  json(): unknown {
    this.#json ??= { value: parseJson(this.body()) }
    return this.#json.value
  }
}

function parseJson(body: Buffer | undefined): unknown {
  if (body === undefined) return undefined
  try {
    return JSON.parse(body.toString()) as unknown
  } catch {
    return undefined
  }
}
