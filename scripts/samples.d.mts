export interface Sample {
  readonly page: string
  readonly line: number
  readonly code: string
}

export function pages(): string[]
export function samplesOf(page: string, text: string): Sample[]
export function check(samples: readonly Sample[]): Promise<string[]>
