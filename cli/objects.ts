/** One client for every kind: the services have the same shape, so a kind only says what its methods are called. */
import type { CallOptions } from "nice-grpc";
import type { Kind, Resource } from "./kinds/kind.ts";
import { mutate } from "./session.ts";
import type { Session } from "./session.ts";

export type Key = { namespace: string; name: string };
export type Selection = { namespace: string; labelSelector?: string; fieldSelector?: string };
export type WatchEvent<T> =
  | { type: "added" | "modified" | "deleted"; object: T; revision: string }
  | { type: "bookmark"; revision: string };

const PAGE_SIZE = 500;

/** The edge where generated names meet the kind's words: what comes back has the shape that the proto gives every kind. */
type Answer = Record<string, unknown>;
type Method = { requestType: { create(base: object): object } };
type Calls = Record<string, (request: object, options: CallOptions) => Promise<Answer> & AsyncIterable<Answer>>;

export class ObjectClient<T extends Resource> {
  readonly kind: Kind<T>;
  readonly #session: Session;
  readonly #calls: Calls;

  constructor(kind: Kind<T>, session: Session) {
    this.kind = kind;
    this.#session = session;
    this.#calls = session.connection.client(kind.definition) as unknown as Calls;
  }

  async get(key: Key): Promise<T> {
    return this.#object(await this.#call(`get${this.kind.noun}`, key));
  }

  /** Every page; the pages are of one revision. */
  async list(selection: Selection): Promise<T[]> {
    const objects: T[] = [];
    for (let pageToken = ""; ; ) {
      const page = await this.#call(`list${this.kind.nounPlural}`, { ...selection, pageSize: PAGE_SIZE, pageToken });
      objects.push(...(page[this.kind.listField] as T[]));
      pageToken = page["nextPageToken"] as string;
      if (pageToken === "") return objects;
    }
  }

  async *watch(selection: Selection & { fromRevision: string }, signal: AbortSignal): AsyncGenerator<WatchEvent<T>> {
    const name = `watch${this.kind.nounPlural}`;
    for await (const { event, revision } of this.#calls[name]!(this.#request(name, selection), { signal })) {
      const { $case: type, value } = (event ?? { $case: "bookmark" }) as { $case: WatchEvent<T>["type"]; value: unknown };
      const at = revision as string;
      if (type === "bookmark") yield { type, revision: at };
      else if (type === "deleted") yield { type, object: this.#object(value as Answer), revision: at };
      else yield { type, object: value as T, revision: at };
    }
  }

  async create(object: T): Promise<T> {
    return this.#object(await this.#mutate(`create${this.kind.noun}`, { [this.kind.field]: object }));
  }

  /** Replaces what users own. */
  async update(object: T): Promise<T> {
    return this.#object(await this.#mutate(`update${this.kind.noun}`, { [this.kind.field]: object }));
  }

  /** `gracePeriodSeconds` has a meaning for instances only. */
  async remove(key: Key & { uid?: string; gracePeriodSeconds?: number }): Promise<T> {
    return this.#object(await this.#mutate(`delete${this.kind.noun}`, key));
  }

  #object(answer: Answer): T {
    return answer[this.kind.field] as T;
  }

  /** Messages must be whole; objects that were decoded are put in as they are, so that no unknown field is lost. */
  #request(name: string, fields: Answer): object {
    const { requestType } = (this.kind.definition as unknown as { methods: Record<string, Method> }).methods[name]!;
    const { [this.kind.field]: object, ...rest } = fields;
    const carriesObject = typeof object === "object";
    return { ...requestType.create(carriesObject ? rest : fields), ...(carriesObject && { [this.kind.field]: object }) };
  }

  #call(name: string, fields: Answer): Promise<Answer> {
    return this.#calls[name]!(this.#request(name, fields), { signal: this.#session.signal });
  }

  #mutate(name: string, fields: Answer): Promise<Answer> {
    return mutate(this.#session, (requestId, signal) => this.#calls[name]!(this.#request(name, { ...fields, requestId }), { signal }));
  }
}
