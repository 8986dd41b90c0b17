import type { Bench, Sample, Variant } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, get, headersOf } from '../harness/items.js'
import type { Outcome, Row } from '../harness/row.js'
import {
  ANONYMOUS,
  handwrittenSessions,
  READ,
  redwellSessions,
  visits,
  withoutSessions,
  WRITE,
} from '../harness/sessions.js'

const SMALL = 1024
const LARGE = 20 * 1024

const HAND = 'HGETALL and PEXPIRE by hand'

/** Row, our variant, the other one, what is asked for, in words, the ratio that is enough. */
const ROWS = [
  ['B26', 'small', 'handSmall', READ, `session read, 1 KB, against ${HAND}`, 0.85],
  ['B26', 'large', 'handLarge', READ, `session read, 20 KB, against ${HAND}`, 0.65],
  ['B26-cluster', 'cluster', 'handSmall', READ, `session read, 1 KB, on a cluster, against ${HAND}`, 0.75],
  ['B26-secrets', 'secrets', 'handSmall', READ, `session read, 1 KB, encrypted, against ${HAND} in clear`, 0.45],
  ['B27', 'small', 'handSmall', WRITE, `session with one property changed, 1 KB, against ${HAND} and HSET`, 0.85],
  ['B28', 'small', 'without', ANONYMOUS, 'anonymous request, against an application without sessions', 0.97],
] as const

export default {
  id: 'B26',
  subjects: {
    small: redwellSessions(SMALL),
    large: redwellSessions(LARGE),
    cluster: redwellSessions(SMALL, {}, true),
    secrets: redwellSessions(SMALL, { secrets: 'a secret of at least 32 characters' }),
    handSmall: handwrittenSessions(SMALL),
    handLarge: handwrittenSessions(LARGE),
    without: withoutSessions,
  },
  async run(bench: Bench) {
    const outcomes: Outcome[] = []
    for (const [id, oursName, baseName, path, what, atLeast] of ROWS) {
      const redisUrl = oursName === 'cluster' ? await clusterOfOne(bench) : bench.redis.url
      const ours = await bench.start(oursName, { redisUrl })
      const requests = path === ANONYMOUS ? [get(path)] : await visits(bench, ours, path)
      const base = await bench.start(baseName, { headers: await headersOf(bench, ours, requests[0]) })
      const theirs = path === ANONYMOUS ? requests : await visits(bench, base, path)
      const measured = async (variant: Variant, own: readonly string[]): Promise<() => Promise<Sample>> => {
        const handle = await bench.prepare(variant, { requests: own })
        return () => checkedSample(bench, variant, handle)
      }
      const [a, b] = [await measured(ours, requests), await measured(base, theirs)]
      const samples = await interleave(bench, { ours: a, base: b })
      await Promise.all([ours.process.close(), base.process.close()])
      outcomes.push(compared({ id, what, ours: samples.ours, base: samples.base, atLeast }))
    }
    return outcomes
  },
} satisfies Row

/** Every slot on one node: the commands are those of a cluster, the machine is the same. */
async function clusterOfOne(bench: Bench): Promise<string> {
  const { url } = await bench.anotherRedis(['--cluster-enabled', 'yes'])
  const { tunedClient } = await import('../harness/client.js')
  const client = await tunedClient(url)
  await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
  while (!(await client.clusterInfo()).includes('cluster_state:ok'))
    await new Promise((resolve) => setTimeout(resolve, 100))
  client.destroy()
  return url
}
