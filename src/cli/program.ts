import { Command, CommanderError, InvalidArgumentError } from 'commander'
import type { Redis } from '../create-redis.js'
import { RedwellError, SettingsError, UnavailableError, UsageError } from '../errors.js'
import { LIMIT_MAX } from '../operate/pages.js'
import { evictTarget, limits, sweep } from './change.js'
import { doctor, explainRequest, groups, keys, show, stats } from './look.js'
import { EXIT, type GlobalOptions, withRedis } from './session.js'
import { watch } from './watch.js'

const AFTER = `
Settings come from the REDIS_* variables of the application (docs/settings.md); --url and --prefix win over them.
Exit codes: 0 all is well; 1 a problem, nothing found, or not confirmed; 2 wrong arguments or settings; 3 no Redis.`

function wholeNumber(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new InvalidArgumentError('It is not a whole number above 0.')
}

function pageSize(text: string): number {
  return Math.min(wholeNumber(text), LIMIT_MAX)
}

function collected(text: string, before: readonly string[] = []): readonly string[] {
  if (!text.includes(':')) throw new InvalidArgumentError("Write it as 'Name: value'.")
  return [...before, text]
}

type Work = (redis: Redis, args: readonly string[], options: never) => Promise<number>

/** Runs the command line. Resolves with the exit code; never rejects. */
export async function run(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok
  const program = new Command('redwell')
    .description("See and steer an application's cache in Redis.")
    .addHelpText('after', AFTER)
    .exitOverride()
    .showHelpAfterError('(redwell --help says more)')
  /** Adds the options of all commands, so that they stand behind the command as well. */
  const add = (usage: string, description: string, work: Work): Command => {
    const command = program
      .command(usage)
      .description(description)
      .exitOverride()
      .showHelpAfterError('(redwell --help says more)')
      .option('--url <url>', 'where Redis is: redis://, rediss:// (REDIS_URL)')
      .option('--prefix <prefix>', 'first part of every key (REDIS_PREFIX; redwell)')
      .option('--cluster', 'the URL is that of a cluster (REDIS_CLUSTER)')
      .option('--json', 'print JSON')
    return command.action(async () => {
      const options = command.opts<GlobalOptions>()
      code = await withRedis(options, (redis) => work(redis, command.processedArgs as string[], options as never))
    })
  }
  addCommands(add)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return failed(error)
  }
}

function list(command: Command): Command {
  return command
    .option('--limit <count>', 'about so many', pageSize, 50)
    .option('--cursor <cursor>', 'go on where another page ended')
}

function destructive(command: Command): Command {
  return command.option('--yes', 'do not ask')
}

function addCommands(add: (usage: string, description: string, work: Work) => Command): void {
  add('doctor', 'look at servers, permissions, clocks, processes and settings', (redis, _, options) =>
    doctor(redis, options),
  )
  add(
    'stats',
    'what all processes have counted, and why requests were not answered from the cache',
    (redis, _, options) => stats(redis, options),
  )
  list(
    add('keys [begin]', 'list entries whose keys begin with a text', (redis, [begin], options) =>
      keys(redis, begin ?? '', options),
    ),
  ).option('--all', 'every entry, one a line')
  add('show <key>', 'one entry: fields, lifetimes, groups, and why it is valid or not', (redis, [key = ''], options) =>
    show(redis, key, options),
  ).option('--body', 'also its body')
  list(
    add('groups [begin]', 'list groups and their last invalidation', (redis, [begin], options) =>
      groups(redis, begin ?? '', options),
    ),
  )
  add(
    'explain <method> <url>',
    'what the cache would do with a request, and why',
    (redis, [method = '', url = ''], options) => explainRequest(redis, method, url, options),
  ).option('--header <field>', "a field of the request, 'Name: value'; may be repeated", collected)
  destructive(
    add(
      'evict [url]',
      'evict the entries of a URL, a key, a group, a namespace, or everything',
      (redis, [url], options: GlobalOptions) =>
        evictTarget(redis, { ...options, url: url, prefix: undefined }, options),
    ),
  )
    .option('--key <key>', 'the entry with this key, as `keys` shows it')
    .option('--group <name>', 'all entries in a group')
    .option('--namespace <name>', 'all values of a namespace')
    .option('--all', 'everything under the prefix')
    .option('--host <host>', 'of the URL: only for this host')
    .option('--per <principal>', 'of the URL: only for this principal')
    .option('--soft', 'stale from now on, and served while it is renewed')
  add('sweep', 'remove entries that can no longer be valid', (redis, _, options) => sweep(redis, options))
  add('watch', 'live outcomes of all processes', (redis, _, options) => watch(redis, options)).option(
    '--seconds <count>',
    'end after so many seconds',
    wholeNumber,
  )
  destructive(
    list(
      add('limits [begin]', 'list what rate limits have counted, or forget one', (redis, [begin], options) =>
        limits(redis, begin ?? '', options),
      ),
    ),
  ).option('--reset <key>', 'forget what is counted for a key, and a ban')
}

/** Says what is wrong, and returns the exit code that says it to programs. */
function failed(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (!(error instanceof RedwellError)) throw error
  process.stderr.write(`${error.message}\n`)
  if (error instanceof UnavailableError) {
    process.stderr.write('Check REDIS_URL or --url, the network, and whether the server runs.\n')
    return EXIT.unavailable
  }
  return error instanceof SettingsError || error instanceof UsageError ? EXIT.usage : EXIT.no
}
