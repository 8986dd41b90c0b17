/** A step that one of the actors, or a fault, can take from a state. */
export interface Step<State> {
  readonly label: string
  readonly next: State
}

export interface Model<State> {
  readonly initial: State
  /** Every step that is possible in a state, whoever takes it. */
  steps(state: State): Iterable<Step<State>>
  /** What is wrong in a state; undefined where nothing is. */
  check(state: State): string | undefined
  /** What is wrong in a state from which no step leads on. */
  checkEnd(state: State): string | undefined
}

export interface Exploration {
  readonly states: number
  /** Every state was reached; false after a failure, and where there are more than the limit. */
  readonly isComplete: boolean
  /** The shortest run to a state that is wrong; undefined where there is none. */
  readonly failure?: { readonly problem: string; readonly run: readonly string[] } | undefined
}

/** Breadth first over every order of steps, so the run to a failure is the shortest one. States are plain JSON. */
export function explore<State>(model: Model<State>, statesMax: number): Exploration {
  const first = JSON.stringify(model.initial)
  const known = new Map([[first, 0]])
  const queue: (string | undefined)[] = [first]
  const parents = [-1]
  const labels = ['']
  const runTo = (index: number): string[] => {
    const run: string[] = []
    for (let at = index; at > 0; at = parents[at] ?? 0) run.push(labels[at] ?? '')
    return run.toReversed()
  }
  const failed = (problem: string, index: number): Exploration => ({
    states: queue.length,
    isComplete: false,
    failure: { problem, run: runTo(index) },
  })
  for (let head = 0; head < queue.length; head += 1) {
    const text = queue[head] ?? first
    queue[head] = undefined
    const state: State = JSON.parse(text)
    let isEnd = true
    for (const { label, next } of model.steps(state)) {
      isEnd = false
      const key = JSON.stringify(next)
      if (known.has(key)) continue
      known.set(key, queue.length)
      queue.push(key)
      parents.push(head)
      labels.push(label)
      const problem = model.check(next)
      if (problem !== undefined) return failed(problem, queue.length - 1)
    }
    const problem = isEnd ? model.checkEnd(state) : undefined
    if (problem !== undefined) return failed(problem, head)
    if (queue.length > statesMax) return { states: queue.length, isComplete: false }
  }
  return { states: queue.length, isComplete: true }
}
