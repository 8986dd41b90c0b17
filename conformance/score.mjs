/** How the suite names its kinds: what the RFC requires, what a cache does well to do, and what is only asked. */
export const KINDS = ['required', 'optimal', 'check']

/**
 * Every test that applies to a shared cache, with what came of it: `pass`, `fail`; `setup` where something else than the
 * tested behaviour was in the way, `retry` where a request came twice, `dependency` where a test it depends on did not
 * pass, `untested`.
 */
export function judge(sections, results) {
  const tests = sections.flatMap((section) =>
    section.tests
      .filter(({ browser_only }) => browser_only !== true)
      .map((test) => ({ id: test.id, name: test.name, kind: test.kind ?? 'required', section, test })),
  )
  const byId = new Map(tests.map((entry) => [entry.id, entry]))
  return tests.map((entry) => ({
    ...entry,
    outcome: outcomeOf(entry, byId, results),
    message: messageOf(entry, results),
  }))
}

function outcomeOf({ id, test }, byId, results) {
  const result = results[id]
  if (result === undefined) return 'untested'
  const needed = (test.depends_on ?? []).map((one) => byId.get(one)).filter((one) => one !== undefined)
  if (needed.some((one) => outcomeOf(one, byId, results) !== 'pass')) return 'dependency'
  if (result === true) return 'pass'
  if (result[0] !== 'Setup') return 'fail'
  return result[1] === 'retry' ? 'retry' : 'setup'
}

function messageOf({ id }, results) {
  return Array.isArray(results[id]) ? results[id][1] : ''
}

/** Passed and all, by kind; with `section`, of that section alone. */
export function score(judged, section) {
  const counted = judged.filter((entry) => section === undefined || entry.section === section)
  return Object.fromEntries(
    KINDS.map((kind) => {
      const ofKind = counted.filter((entry) => entry.kind === kind)
      return [kind, { passed: ofKind.filter(({ outcome }) => outcome === 'pass').length, all: ofKind.length }]
    }),
  )
}
