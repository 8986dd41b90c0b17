// client.mjs <suite> <base> <parallel> [test id …]: runs the suite's client against a base URL, with the fetch that its
// authors use, and prints its results as JSON on the last line. One id alone: its messages as well.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { loadSections } from './sections.mjs'

const [folder, base, parallel, ...ids] = process.argv.slice(2)
const suite = pathToFileURL(`${folder}/`)
const { runTests, getResults } = await import(new URL('client/runner.mjs', suite))
const nodeFetch = createRequire(new URL('client/runner.mjs', suite))('node-fetch')
const ownFetch = globalThis.fetch
// Only Node's own shows interim responses, through a dispatcher; it adds `no-cache` to conditional requests.
const fetch = (url, init) => (init?.dispatcher === undefined ? nodeFetch(url, init) : ownFetch(url, init))
globalThis.fetch = fetch

const sections = await loadSections(folder)
const wanted = sections.map((section) => ({
  ...section,
  tests: section.tests.filter(({ id }) => ids.length === 0 || ids.includes(id)),
}))
if (ids.length === 1) for (const { tests } of wanted) for (const test of tests) test.dump = true

// Newer copies of the suite take the global fetch.
await runTests(wanted, ...(runTests.length === 3 ? [] : [fetch]), false, base, Number(parallel))
process.stdout.write(`${JSON.stringify(getResults())}\n`)
