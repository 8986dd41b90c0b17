import type { Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { checkTarget, evict, type EvictTarget, namesOf } from '../operate/evict.js'
import { listLimits, resetLimit } from '../operate/limits.js'
import { duration, incomplete, oneLine, paint, print, printJson, Progress, table, time } from './output.js'
import { EXIT } from './exit.js'
import { confirmed, type GlobalOptions } from './session.js'
import type { ListOptions } from './look.js'

/** `redwell evict`: exit code 1 where Redis did not confirm it. */
export async function evictTarget(redis: Redis, target: EvictTarget, options: GlobalOptions): Promise<number> {
  checkTarget(target, (name) => (name === 'url' ? 'a URL' : `--${name}`))
  const what = nameOf(target)
  if (!(await confirmed(options, `Evict ${what} under the prefix ${redis.settings.prefix}`))) return EXIT.no
  const result = await evict(redis, target)
  if (options.json === true) printJson(result)
  else {
    const soft = target.soft === true ? 'softly ' : ''
    if (!result.confirmed)
      print(`Redis did not confirm it: ${sentence(result.problem ?? 'no answer')} ${adviceFor(result.problem)}`)
    else if (!result.found) print(`Nothing was stored of ${what}. List what is with: redwell keys, redwell groups`)
    else print([`Evicted ${soft}${what}.`, ...result.keys.map((key) => paint('dim', `  ${key}`))].join('\n'))
  }
  return result.confirmed && (result.found || !isEntry(target)) ? EXIT.ok : EXIT.no
}

/** A key names one entry, which there is or is not; an eviction by other names holds for none as well. */
function isEntry({ key, url, group, namespace }: EvictTarget): boolean {
  return key !== undefined && [url, group, namespace].every((name) => name === undefined)
}

/** On one line, with one dot at its end. */
function sentence(problem: string): string {
  return `${oneLine(problem).replace(/\.$/, '')}.`
}

function adviceFor(problem = ''): string {
  return problem.includes('NOPERM') ? 'See the permissions of the user: redwell doctor' : 'Try again.'
}

function nameOf({ url, key, group, namespace, all, host, per }: EvictTarget): string {
  if (all === true) return 'everything'
  const named = { 'the entries of': url, 'the entry': key, 'the group': group, 'the namespace': namespace }
  const parts = Object.entries(named).flatMap(([word, names]) => namesOf(names).map((name) => `${word} ${name}`))
  const narrowed = Object.entries({ 'the host': host, 'the principal': per }).flatMap(([word, name]) =>
    name === undefined ? [] : [` of ${word} ${name}`],
  )
  return parts.join(' and ') + narrowed.join('')
}

/** Keys that one step of a sweep looks at. */
const SWEEP_COUNT = 500

/** `redwell sweep`: removes entries that no reader can use; asks for no confirmation. */
export async function sweep(redis: Redis, { json }: GlobalOptions): Promise<number> {
  const progress = new Progress()
  const total = await progress.totalOf(redis)
  let [cursor, steps, entries, removed] = ['0', 0, 0, 0]
  do {
    const step = await redis.scope.sweep(cursor, SWEEP_COUNT)
    cursor = step.cursor
    steps += 1
    entries += step.scanned
    removed += step.removed
    progress.show(`Sweeping: ${removed} of ${entries} entries removed`, steps * SWEEP_COUNT, total)
  } while (cursor !== '0')
  progress.end()
  if (json === true) printJson({ entries, removed })
  else print(`Removed ${removed} of ${entries} entries.`)
  return EXIT.ok
}

/** `redwell limits`: what is counted; `--reset` forgets one, with exit code 1 where there is none. */
export async function limits(
  redis: Redis,
  search: string,
  options: ListOptions & GlobalOptions & { reset?: string },
): Promise<number> {
  const { reset, json } = options
  if (reset !== undefined) {
    if (!(await confirmed(options, `Reset the count of ${reset}`))) return EXIT.no
    const wasCounted = await resetLimit(redis, reset)
    if (json === true) printJson({ reset: wasCounted ? reset : null })
    else
      print(
        wasCounted ? `Forgotten: ${reset}` : `Nothing is counted under ${reset}. List the keys with: redwell limits`,
      )
    return wasCounted ? EXIT.ok : EXIT.no
  }
  const page = await listLimits(redis, { search, ...options })
  if (json === true) printJson(page)
  else {
    const rows = page.items.map(({ key, scope, identity, algorithm, windows, bannedForMs }) => [
      ...[key, scope, identity, algorithm],
      windows
        .map(
          ({ used, windowMs, resetMs }) => `${used ?? '?'} in ${duration(windowMs)} (all back in ${duration(resetMs)})`,
        )
        .join('; '),
      bannedForMs > 0 ? { text: `for ${duration(bannedForMs)}`, style: 'red' as const } : '-',
    ])
    print(
      rows.length === 0
        ? 'There are no counts.'
        : table(['KEY', 'LIMIT', 'IDENTITY', 'ALGORITHM', 'USED', 'BANNED'], rows),
    )
    if (page.cursor !== null) print(paint('dim', `More: --cursor ${page.cursor}`))
  }
  return incomplete(page.away)
}

/** `redwell sessions`: those of one subject; `--revoke` and `--revoke-all` end them. */
export async function sessions(
  redis: Redis,
  subject: string,
  options: GlobalOptions & { revoke?: string; revokeAll?: boolean },
): Promise<number> {
  const { json, revoke, revokeAll = false } = options
  if (subject === '') throw new UsageError('subject: must not be empty')
  if (revoke !== undefined && revokeAll)
    throw new UsageError('--revoke-all: ends all sessions, so it cannot be combined with --revoke')
  if (revoke === undefined && !revokeAll) return listSessions(redis, subject, json)
  const what = revokeAll ? `all sessions of ${subject}` : `the session ${revoke} of ${subject}`
  if (!(await confirmed(options, `End ${what}`))) return EXIT.no
  const count = revokeAll
    ? await redis.sessions.revokeAll(subject)
    : Number(await redis.sessions.revoke(subject, revoke ?? ''))
  if (json === true) printJson({ ended: count })
  else print(count === 0 ? 'There is no such session.' : `Ended: ${count}`)
  return count === 0 ? EXIT.no : EXIT.ok
}

async function listSessions(redis: Redis, subject: string, json: boolean | undefined): Promise<number> {
  const found = await redis.sessions.list(subject)
  if (json === true) {
    printJson(found)
    return EXIT.ok
  }
  const rows = found.map(({ handle, descriptor, createdAt, lastSeenAt, expiresAt }) => [
    ...[handle, descriptor ?? '-'],
    ...[createdAt, lastSeenAt, expiresAt].map((date) => time(date.getTime())),
  ])
  print(rows.length === 0 ? 'No sessions.' : table(['SESSION', 'DESCRIBED AS', 'CREATED', 'LAST SEEN', 'ENDS'], rows))
  return EXIT.ok
}
