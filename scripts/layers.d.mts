export function layerProblems(src: string): string[]
