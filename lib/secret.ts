/** Text that must not be shown: printed, logged or turned into JSON it is "***". Only `reveal` gives it. */
const INSPECT = Symbol.for("nodejs.util.inspect.custom");
export const MASK = "***";

export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [INSPECT](): string {
    return MASK;
  }
}

/** The same message, which whoever prints the object that it is in does not show. A copy of the message itself does again. */
export function masked<T extends { value: string }>(message: T): T {
  if (message.value === "") return message;
  const shown = { value: () => ({ ...message, value: MASK }) };
  return Object.defineProperties({ ...message }, { toJSON: shown, [INSPECT]: shown });
}
