import { UnavailableError } from '../../src/errors.js'
import type { CommandArgument, Receiver, Reply, Script } from '../../src/redis/command.js'
import type { CommandBudget } from '../../src/redis/deadline.js'
import type { RedisConnection } from '../../src/store/redis-commands.js'
import { scripts } from '../../src/store/scripts.js'

const SCRIPTS: ReadonlyMap<unknown, Script> = new Map(Object.values(scripts).map((script) => [script.sha1, script]))

/** A command that a test has stopped on its way to the server. */
export interface HeldCommand {
  /** Resolves when the command would have been sent. */
  readonly reached: Promise<void>
  release(): void
}

/**
 * A connection whose commands a test can stop or break, so that it decides the order of what two processes do. Commands
 * are named by their script, or by their first word.
 */
export interface ControlledConnection extends RedisConnection {
  /** Names of the commands sent so far, in order. */
  readonly sent: readonly string[]
  /** Name of the life that the server is in. */
  server: string
  /** Stops the next command of this name before it is sent. */
  hold(name: string): HeldCommand
  /** The next command of this name is executed, and its reply is lost. */
  loseReply(name: string): void
  /** The next command of this name is not sent. */
  fail(name: string): void
}

/** A promise, and the function that resolves it. */
function signal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((resolved) => {
    resolve = resolved
  })
  return { promise, resolve }
}

export function controlled(connection: RedisConnection): ControlledConnection {
  const plans: { readonly name: string; readonly run: (send: () => Promise<Reply>) => Promise<Reply> }[] = []
  const sent: string[] = []
  const self = {
    topology: connection.topology,
    get generation(): number {
      return connection.generation
    },
    get lives(): readonly string[] {
      return connection.lives
    },
    server: '',
    sent,
    serverOf: (): string => self.server,
    subscribe: connection.subscribe.bind(connection),
    unbounded: connection.unbounded.bind(connection),
    invalidationBudget: connection.invalidationBudget.bind(connection),
    bulkBudget: connection.bulkBudget.bind(connection),
    async execute(args: readonly CommandArgument[], key: string | undefined, budget?: CommandBudget): Promise<Reply> {
      const script = SCRIPTS.get(args[1])
      const name = script?.name ?? String(args[0])
      // A script that the server did not know is sent again by its source: one command for the test.
      const send = (): Promise<Reply> =>
        connection.execute(args, key, budget).catch((error: unknown) => {
          if (script === undefined || !String(error).includes('NOSCRIPT')) throw error
          return connection.execute(['EVAL', script.source, ...args.slice(2)], key, budget)
        })
      sent.push(name)
      const index = plans.findIndex((plan) => plan.name === name)
      const [plan] = index === -1 ? [] : plans.splice(index, 1)
      return plan === undefined ? send() : plan.run(send)
    },
    ask(
      args: readonly CommandArgument[],
      key: string | undefined,
      budget: CommandBudget | undefined,
      to: Receiver,
    ): void {
      self.execute(args, key, budget).then(to.onReply, to.onError)
    },
    hold(name: string): HeldCommand {
      const reached = signal()
      const released = signal()
      plans.push({
        name,
        run: async (send) => {
          reached.resolve()
          await released.promise
          return send()
        },
      })
      return { reached: reached.promise, release: released.resolve }
    },
    loseReply(name: string): void {
      plans.push({
        name,
        run: async (send) => {
          await send()
          throw new UnavailableError('deadline', 'The reply was lost.')
        },
      })
    },
    fail(name: string): void {
      plans.push({ name, run: () => Promise.reject(new UnavailableError('deadline', 'The command was not sent.')) })
    },
  }
  return self
}
