/**
 * A function of the framework's request. Its parameter may be declared as a particular kind of that request, such as one
 * with typed parameters of the path: unlike those of a function, the parameters of a method may be.
 */
export type RequestFunction<Req, Result> = { of(request: Req): Result }['of']
