import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/** All sections of the suite, as its command line client runs them. */
export async function loadSections(folder) {
  const tests = (name) => {
    const file = ['tests', '../tests'].map((path) => resolve(folder, path, name)).find((path) => existsSync(path))
    return file === undefined ? undefined : import(pathToFileURL(file))
  }
  const sections = [...(await tests('index.mjs')).default]
  const surrogate = await tests('surrogate-control.mjs')
  if (surrogate !== undefined) sections.push(surrogate.default)
  return sections
}

/** Where client and server of a copy of the suite are; newer copies keep them in a folder of their own. */
export function engineOf(folder) {
  const engine = join(folder, 'test-engine')
  return existsSync(engine) ? engine : folder
}
