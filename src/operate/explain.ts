import type { ExplainRequest, Explanation, Refusal } from '../cache/explanation.js'
import type { Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { withoutIds } from '../session/id.js'
import { ask } from './live.js'
import { fixOf, meaningOf } from './reasons.js'

/** What the cache would do with a request, with its reason in words. */
export interface Explained extends Explanation {
  readonly meaning: string
  /** What to do about it; empty where nothing is to be done. */
  readonly fix: string
}

/** Asks the processes that know the routes. Rejects with UsageError where none of them answers such a request. */
export async function explain(redis: Redis, request: ExplainRequest): Promise<Explained> {
  // The question stands in Redis for some seconds, where no id of a session may be.
  const headers = Object.entries(request.headers ?? {}).map(([name, value]) => [name, withoutIds(value)])
  const asked = { ...request, headers: Object.fromEntries(headers) as Record<string, string> }
  const answers = await ask(redis, { kind: 'explain', request: asked })
  const explained = answers.flatMap(({ explanation }) => (explanation === undefined ? [] : [explanation]))
  const [first] = explained
  if (first === undefined)
    throw new UsageError(
      nobody(
        redis,
        answers.flatMap(({ none }) => none ?? []),
      ),
    )
  const refusals = explained.flatMap(({ lastRefusal }) => (lastRefusal === undefined ? [] : [lastRefusal]))
  const [last] = refusals.toSorted((one, other) => timeOf(other) - timeOf(one))
  const { reason } = last !== undefined && first.outcome === 'miss' ? last : first
  return { ...first, lastRefusal: last, meaning: meaningOf(first.reason), fix: fixOf(reason) }
}

/** Dates are texts in an answer of another process. */
function timeOf({ at }: Refusal): number {
  return new Date(at).getTime()
}

function nobody({ settings }: Redis, said: readonly string[]): string {
  // Each names the routes of its own process; two applications may share a prefix.
  if (said.length > 0) return [...new Set(said)].join('\n')
  return `No process of the prefix '${settings.prefix}' answers: is the application running, with the same Redis and prefix, and not with REDIS_OPERATE_ENABLED=false?`
}
