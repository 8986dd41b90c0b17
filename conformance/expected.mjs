/**
 * Tests that came out otherwise than the list of accepted failures says: failures that are not in it, and entries whose
 * test passes or is gone. What the suite only asks (`check`) has no right answer and is left out.
 */
export function unexpected(judged, accepted) {
  const gated = judged.filter(({ kind }) => kind !== 'check')
  const failures = gated.filter(({ id, outcome }) => outcome !== 'pass' && accepted[id] === undefined)
  const passing = new Set(gated.filter(({ outcome }) => outcome === 'pass').map(({ id }) => id))
  const known = new Set(gated.map(({ id }) => id))
  const outdated = Object.keys(accepted).filter((id) => passing.has(id) || !known.has(id))
  return [
    ...failures.map(({ id, kind, outcome, message }) => ({ id, what: `${kind}, ${outcome}: ${message}` })),
    ...outdated.map((id) => ({ id, what: 'passes or is gone, but is in the list of accepted failures' })),
  ]
}
