import { execFileSync } from 'node:child_process'
import type { Row } from '../harness/row.js'

const AT_MOST_MB = 8
const AT_MOST_PACKAGES = 6

export default {
  id: 'B17',
  run() {
    const smoke = new URL('../../scripts/smoke.mjs', import.meta.url).pathname
    const output = execFileSync(process.execPath, [smoke, '--size'], { encoding: 'utf8' })
    const { bytes, packages } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as {
      bytes: number
      packages: number
    }
    const megabytes = bytes / 1024 / 1024
    return Promise.resolve([
      {
        id: 'B17',
        what: 'installed size and packages, core only',
        figures: `${megabytes.toFixed(2)} MB, ${packages} packages`,
        target: `<= ${AT_MOST_MB} MB, <= ${AT_MOST_PACKAGES} packages`,
        met: megabytes <= AT_MOST_MB && packages <= AT_MOST_PACKAGES ? ('yes' as const) : ('no' as const),
      },
    ])
  },
} satisfies Row
