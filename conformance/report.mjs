import { KINDS, score } from './score.mjs'

/** The score as a table by section, then every test that did not pass. */
export function printScores(judged, sections) {
  const rows = sections.map((section) => [section.name, ...columns(score(judged, section))])
  printTable([['section', ...KINDS], ...rows, ['all', ...columns(score(judged))]])
  for (const kind of KINDS) {
    const failed = judged.filter((entry) => entry.kind === kind && entry.outcome !== 'pass')
    console.log(`\n${kind}: ${failed.length} not passed`)
    for (const { id, outcome, message, name } of failed) console.log(`  ${id} [${outcome}] ${message} (${name})`)
  }
}

function columns(byKind) {
  return KINDS.map((kind) => (byKind[kind].all === 0 ? '' : `${byKind[kind].passed}/${byKind[kind].all}`))
}

/** Rows of the table of results in the docs that have other scores than a run of the release. */
export function undocumented(docs, preset, judged, sections) {
  const first = preset === 'rfc9111' ? 1 : 3
  const tables = docs.split('\n').filter((line) => line.startsWith('| '))
  const row = (name) =>
    tables
      .map((line) =>
        line
          .split('|')
          .slice(1)
          .map((cell) => cell.trim()),
      )
      .find(([head]) => head === name)
  // A name of the suite is misspelt.
  const nameOf = ({ name }) => name.replace('Respones', 'Responses')
  const wanted = [...sections.map((section) => [nameOf(section), section]), ['**all**', undefined]]
  return wanted.flatMap(([name, section]) => {
    const [required, optimal] = columns(score(judged, section))
    const said = row(name)?.slice(first, first + 2)
    if (required === '' && optimal === '') return []
    return said?.[0] === required && said[1] === optimal
      ? []
      : [`${name}: ${required} ${optimal}, not ${said?.join(' ')}`]
  })
}

export function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`
  const [header, ...rest] = rows
  console.log([line(header), line(widths.map((width) => '-'.repeat(width))), ...rest.map(line)].join('\n'))
}

export function printDifferences(differences, version) {
  if (differences.length === 0) return console.log(`\nAs conformance/expected.json says (suite ${version}).`)
  console.log('\nOtherwise than conformance/expected.json says:')
  for (const { id, what } of differences) console.log(`  ${id}: ${what}`)
}
