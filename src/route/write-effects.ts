import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/lookup.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import type { StoredEntry } from '../cache/write.js'
import type { MaybePromise } from '../maybe-promise.js'
import { isEmpty } from './cached-paths.js'

/** The entry that a write has stored, and what it has invalidated in the same step. */
interface Kept {
  readonly ref: EntryRef
  readonly draft: StoredEntry
  readonly joined: InvalidationTarget
}

/**
 * What one write has changed in the cache. The application may commit later than its handler answers: with the last piece
 * of a stream, or in a middleware around the route. A read in between stores what was before, so that all of this is done
 * once more when the response ends.
 */
export class WriteEffects {
  readonly #scope: CacheScope
  readonly #invalidated: InvalidationTarget[] = []
  #kept: Kept | undefined
  /** Since the last time nothing has run that waits for something, such as a commit. */
  #isRecent = false

  constructor(scope: CacheScope) {
    this.#scope = scope
  }

  get any(): boolean {
    return this.#kept !== undefined || this.#invalidated.length > 0
  }

  invalidated(target: InvalidationTarget): void {
    if (!isEmpty(target)) this.#invalidated.push(target)
  }

  stored(kept: Kept): void {
    this.#kept = kept
  }

  /** All of it is confirmed, or queued. */
  settled(): void {
    if (!this.any) return
    this.#isRecent = true
    setImmediate(() => (this.#isRecent = false))
  }

  /** The response as it is sent has this status. What was stored of one that has become an error was not committed. */
  confirm(status: number): MaybePromise<unknown> {
    if (status >= 400) return this.#takeBack()
    return this.#isRecent ? undefined : this.repeat()
  }

  /** Once more, from now on. Never rejects. */
  async repeat(): Promise<void> {
    await Promise.all(this.#invalidated.map((target) => this.#scope.evict(target)))
    if (this.#kept !== undefined) await this.#storeAgain(this.#kept)
    this.settled()
  }

  #takeBack(): MaybePromise<unknown> {
    if (this.#kept === undefined) return undefined
    const { path } = this.#kept.ref
    this.#kept = undefined
    return this.#scope.evict({ paths: [path] })
  }

  /**
   * A write of its own that begins now, with the same value. It is still the last one where the entry is valid after the
   * clock was read: another write would have ended it before, or is noticed by the commit.
   */
  async #storeAgain({ ref, draft, joined }: Kept): Promise<void> {
    const groups = [...draft.entry.groups, ...(joined.groups ?? [])]
    const begun = await this.#scope.beginWrite(ref, { groups, groupTtlMs: draft.ttlMs })
    const found = begun && (await this.#scope.lookup(ref))
    if (begun !== undefined && found?.state === 'valid') {
      const { published } = await this.#scope.commit(begun, draft, joined)
      if (published === 'stored') return
    } else await Promise.all([this.#scope.evict({ paths: [ref.path] }), this.#scope.evict(joined)])
    this.#kept = undefined
    this.invalidated({ paths: [ref.path] })
    this.invalidated(joined)
  }
}
