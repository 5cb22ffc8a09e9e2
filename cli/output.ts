/** What the command writes: answers on standard output, remarks and faults on standard error. */
import { visible } from "./visible.ts";

export const FORMATS = ["table", "wide", "json", "yaml", "name"] as const;
export type Format = (typeof FORMATS)[number];

export type Sink = { write(data: string | Uint8Array): unknown; isTTY?: boolean };

export class Output {
  readonly format: Format;
  readonly #out: Sink;
  readonly #errors: Sink;
  #open = false;

  constructor(format: Format, { out, errors }: { out: Sink; errors: Sink }) {
    this.format = format;
    this.#out = out;
    this.#errors = errors;
  }

  get isTerminal(): boolean {
    return this.#out.isTTY === true;
  }

  line(text: string): void {
    this.#close();
    this.#out.write(`${text}\n`);
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** As it is, such as a guest's console. */
  raw(data: string | Uint8Array): void {
    this.#out.write(data);
  }

  /** For people who look on; programs that read standard output never see it. */
  remark(text: string): void {
    this.#close();
    this.#errors.write(`${visible(text)}\n`);
  }

  fault(lines: readonly string[]): void {
    this.#close();
    for (const text of lines) this.#errors.write(`${text}\n`);
  }

  /** A line that the next one replaces. Only where somebody looks on. */
  progress(text: string): void {
    if (!this.#errors.isTTY) return;
    this.#errors.write(`\r\u001B[K${visible(text)}`);
    this.#open = true;
  }

  get showsProgress(): boolean {
    return this.#errors.isTTY === true;
  }

  #close(): void {
    if (this.#open) this.#errors.write("\r\u001B[K");
    this.#open = false;
  }
}
