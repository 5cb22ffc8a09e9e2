/**
 * A connection that is made anew when the node has new certificates: the server takes calls on one only as long as the
 * certificate lives that it was made with. Calls and streams that run go on where they are.
 */
import type { CompatServiceDefinition } from "nice-grpc";
import type { Connection } from "../../lib/client.ts";

export class CurrentConnection implements Connection {
  readonly #dial: () => Connection;
  readonly #clients = new Map<CompatServiceDefinition, unknown>();
  #connection: Connection;

  constructor(dial: () => Connection) {
    this.#dial = dial;
    this.#connection = dial();
  }

  get channel(): Connection["channel"] {
    return this.#connection.channel;
  }

  /** Of the present connection: to be asked for at each call. */
  readonly client: Connection["client"] = (definition) => {
    const known = this.#clients.get(definition) as ReturnType<typeof this.client<typeof definition>> | undefined;
    const client = known ?? this.#connection.client(definition);
    this.#clients.set(definition, client);
    return client;
  };

  replace(): void {
    const before = this.#connection;
    this.#connection = this.#dial();
    this.#clients.clear();
    before[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }
}
