import { Command, CommanderError, InvalidArgumentError } from 'commander'
import type { Redis } from '../create-redis.js'
import { RedwellError, SettingsError, UnavailableError, UsageError } from '../errors.js'
import { LIMIT_DEFAULT, LIMIT_MAX } from '../operate/pages.js'
import { packageVersion } from '../report/reporter.js'
import { isReply } from '../redis/port.js'
import { evictTarget, limits, sessions, sweep } from './change.js'
import { doctor, explainRequest, groups, keys, show, stats } from './look.js'
import { visible } from './output.js'
import { EXIT } from './exit.js'
import { type GlobalOptions, Interrupted, withRedis } from './session.js'
import { watch } from './watch.js'

const AFTER = `
Settings come from the REDIS_* variables of the application; --url, --prefix and --cluster win over them.
Every command: https://redwell.github.io/redwell/command-line
Exit codes: 0 all is well; 1 a problem, nothing found, or not confirmed; 2 wrong arguments or settings; 3 no Redis.`

function wholeNumber(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new InvalidArgumentError('Not a whole number above 0.')
}

function pageSize(text: string): number {
  return Math.min(wholeNumber(text), LIMIT_MAX)
}

function collected(text: string, before: readonly string[] = []): readonly string[] {
  if (!text.includes(':') || /[\0\r\n]/.test(text))
    throw new InvalidArgumentError("Write it as 'Name: value', on one line.")
  return [...before, text]
}

function named(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

/** An option that takes one value and is written twice would lose the first. */
function refuseRepeats(command: Command): void {
  for (const option of command.options) {
    if (!option.required || option.parseArg === named || option.parseArg === collected) continue
    let given = 0
    command.on(`option:${option.name()}`, () => {
      given += 1
      if (given > 1) throw new UsageError(`--${option.name()}: may be written only once`)
    })
  }
}

type Work = (redis: Redis, args: readonly string[], options: never) => Promise<number>

/** Runs the command line. Resolves with the exit code; never rejects. */
export async function run(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok
  const program = new Command('redwell')
    .description("Inspect and manage an application's cache in Redis.")
    .version(packageVersion())
    .addHelpText('after', AFTER)
    .exitOverride()
    .showHelpAfterError('(see redwell --help)')
  /** Adds the options of all commands, so that they stand behind the command as well. */
  const add = (usage: string, description: string, work: Work): Command => {
    const command = program
      .command(usage)
      .description(description)
      .exitOverride()
      .showHelpAfterError('(see redwell --help)')
      .option('--url <url>', 'address of Redis: redis:// or rediss:// (REDIS_URL)')
      .option('--prefix <prefix>', 'first part of every key (REDIS_PREFIX; default: redwell)')
      .option('--cluster', 'the URL is a cluster (REDIS_CLUSTER)')
      .option('--json', 'print JSON')
    return command.action(async () => {
      const options = command.opts<GlobalOptions>()
      code = await withRedis(options, (redis) => work(redis, command.processedArgs as string[], options as never))
    })
  }
  addLooks(add)
  addChanges(add)
  for (const command of program.commands) refuseRepeats(command)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return failed(error)
  }
}

function list(command: Command): Command {
  return command
    .option('--limit <count>', `approximate number of entries (default: ${LIMIT_DEFAULT})`, pageSize)
    .option('--cursor <cursor>', 'continue after a previous page')
}

function destructive(command: Command): Command {
  return command.option('--yes', 'do not ask for confirmation')
}

type Add = (usage: string, description: string, work: Work) => Command

/** Commands that change nothing. */
function addLooks(add: Add): void {
  add('doctor', 'check servers, permissions, clocks, processes and settings', (redis, _, options) =>
    doctor(redis, options),
  )
  add('stats', 'counts of all processes, and why requests were not answered from the cache', (redis, _, options) =>
    stats(redis, options),
  )
  list(
    add('keys [begin]', 'list entries whose keys begin with a string', (redis, [begin], options) =>
      keys(redis, begin ?? '', options),
    ),
  ).option('--all', 'all entries, one per line')
  add('show <key>', 'show an entry: fields, lifetimes, groups, and whether it is valid', (redis, [key = ''], options) =>
    show(redis, key, options),
  ).option('--body', 'include the body')
  list(
    add('groups [begin]', 'list groups and their last invalidations', (redis, [begin], options) =>
      groups(redis, begin ?? '', options),
    ),
  )
  add(
    'explain <method> <url>',
    'show what the cache would do with a request, and why',
    (redis, [method = '', url = ''], options) => explainRequest(redis, method, url, options),
  ).option('--header <field>', "header field of the request, 'Name: value'; may be repeated", collected)
  add('watch', 'show live outcomes of all processes', (redis, _, options) => watch(redis, options)).option(
    '--seconds <count>',
    'stop after this many seconds',
    wholeNumber,
  )
}

/** Commands that remove or reset something. */
function addChanges(add: Add): void {
  destructive(
    add(
      'evict [url]',
      'evict the entries of a URL, a key, a group, a namespace, or everything',
      (redis, [url], options: GlobalOptions) =>
        evictTarget(redis, { ...options, url: url, prefix: undefined }, options),
    ),
  )
    .option('--key <key>', 'the entry with this key, as `keys` shows it; may be repeated', named)
    .option('--group <name>', 'all entries in a group; may be repeated', named)
    .option('--namespace <name>', 'all values of a namespace; may be repeated', named)
    .option('--all', 'everything under the prefix')
    .option('--host <host>', 'with a URL: only for this host')
    .option('--per <principal>', 'with a URL: only for this principal')
    .option('--soft', 'make entries stale instead, so that they are served while they are refreshed')
  add('sweep', 'remove entries that can no longer be valid', (redis, _, options) => sweep(redis, options))
  destructive(
    list(
      add('limits [begin]', 'list the counts of rate limits, or reset one', (redis, [begin], options) =>
        limits(redis, begin ?? '', options),
      ),
    ),
  ).option('--reset <key>', 'reset the count and the ban of a key')
  destructive(
    add(
      'sessions <subject>',
      'list the sessions of a subject (a user), or end them',
      (redis, [subject = ''], options) => sessions(redis, subject, options),
    ),
  )
    .option('--revoke <session>', 'end this session')
    .option('--revoke-all', 'end all sessions of the subject')
}

/** Says what is wrong, and returns the exit code that says it to programs. */
function failed(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof Interrupted) {
    process.stderr.write('\n')
    return EXIT.interrupted
  }
  // Sessions report a refused command as an error of their own.
  const cause = error instanceof UnavailableError ? error.cause : error
  if (isReply(cause)) {
    process.stderr.write(`Redis refuses it: ${visible(cause.message)}\n`)
    return EXIT.no
  }
  if (!(error instanceof RedwellError)) throw error
  process.stderr.write(`${visible(error.message)}\n`)
  if (error instanceof UnavailableError) {
    process.stderr.write(
      'Check REDIS_URL or --url, whether it is a cluster (--cluster), the network, and whether the server is running.\n',
    )
    return EXIT.unavailable
  }
  return error instanceof SettingsError || error instanceof UsageError ? EXIT.usage : EXIT.no
}
