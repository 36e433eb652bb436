/**
 * The OpenSSL inside the node binary, called with koffi: TLS on a descriptor, without Node's event loop. Lanes use it
 * (front/lane/), since a thread that never returns to the event loop can't use `node:tls`.
 *
 * Pointers are plain numbers, as in system-calls.ts, whose memory rules hold here too: OpenSSL reads and writes only
 * arenas and its own memory. Its objects belong to the process: a thread that dies leaves them, and another thread may
 * free them then. Each thread has its own error queue. It is empty between any two uses, because every error is taken
 * with `takeError()`.
 */
import { loadKoffi, koffiMissing } from "./koffi.ts";

/** From ssl.h of OpenSSL 3. */
export const SSL_ERROR_SSL = 1;
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_ERROR_ZERO_RETURN = 6;
const TLS_1_2 = 0x0303;
export const TLS_1_3 = 0x0304;
const SSL_MODE_ENABLE_PARTIAL_WRITE = 1;
const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 2;
const SSL_MODE_AUTO_RETRY = 4;
const SSL_MODE_RELEASE_BUFFERS = 0x10;
/** A step of a handshake, at a server. */
const SSL_CB_ACCEPT_LOOP = 0x2001;
const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
const OPENSSL_NPN_NEGOTIATED = 1;

/** Numbers of SSL_CTX_ctrl(), SSL_ctrl() and SSL_CTX_callback_ctrl(). */
const control = {
  mode: 33,
  readAhead: 41,
  sessionCacheMode: 44,
  statusCallback: 63,
  statusResponse: 71,
  ticketKeyCallback: 72,
  clearMode: 78,
  addChainCertificate: 89,
  minVersion: 123,
  maxVersion: 124,
} as const;

type Numbers = (...numbers: number[]) => number;
type Void = (...numbers: number[]) => void;

/** What a listener's contexts have in common. */
export interface ContextSettings {
  /** Names of TLS 1.3 suites, and those of TLS 1.2, joined with colons. */
  readonly suites: string;
  readonly suites12: string;
  readonly options: number;
  readonly sessionSeconds: number;
  /** Where this name is, and its length. */
  readonly sessionContextAt: number;
  readonly sessionContextBytes: number;
}

export interface TicketCall {
  readonly nameAt: number;
  readonly ivAt: number;
  readonly cipher: number;
  readonly mac: number;
  readonly isNew: boolean;
}

export interface Callbacks {
  /** Where the protocols for ALPN are, in its own format, the preferred one first. */
  readonly protocolsAt: number;
  readonly protocolsBytes: number;
  /** Chooses the key of a ticket, with useTicketKey(). 0: there is no such key; 1: cipher and MAC have their key. */
  readonly ticketKey: (call: TicketCall) => 0 | 1;
}

export interface OpenSsl {
  // Called for every request, so without a wrapper. At most 0: getError() tells why.
  readonly read: (ssl: number, at: number, lengthBytes: number) => number;
  readonly write: (ssl: number, at: number, lengthBytes: number) => number;
  /** 1 if bytes were read ahead, of which epoll knows nothing. */
  readonly hasPending: (ssl: number) => number;
  readonly getError: (ssl: number, result: number) => number;
  readonly handshake: (ssl: number) => number;
  /** Sends close_notify. */
  readonly shutdown: (ssl: number) => number;
  /** The server's side of a connection on a descriptor, which stays the caller's; 0: no memory. */
  readonly open: (context: number, descriptor: number) => number;
  readonly free: (ssl: number) => void;
  readonly version: (ssl: number) => number;
  readonly isResumed: (ssl: number) => boolean;
  /** Writes address and length of the protocol that ALPN has chosen: 8 and 4 octets. */
  readonly chosenProtocol: (ssl: number, addressAt: number, lengthAt: number) => void;
  /** Gives the connection a copy of the OCSP response to staple; 0 octets: takes it back. */
  readonly staple: (ssl: number, at: number, lengthBytes: number) => void;
  /**
   * From now on, read() returns after each KeyUpdate (RFC 8446 §4.6.3), and hasPending() does not know of records that
   * were read ahead behind it. Otherwise it goes on while such records arrive.
   */
  readonly returnAfterSteps: (ssl: number) => void;
  /**
   * To be called once per thread, as callBack().
   * @param stepped called by read() for each step of a handshake: there are such also after the first one
   * @returns sets it for a connection whose handshake is complete
   */
  readonly onStep: (stepped: (ssl: number) => void) => (ssl: number) => void;
  /** Takes all errors of this thread. @returns the reason of the oldest, as `no shared cipher`; empty: none */
  readonly takeError: () => string;
  /** A context of the server's side; 0: no memory, or a setting that is not accepted. */
  readonly newContext: (settings: ContextSettings) => number;
  readonly freeContext: (context: number) => void;
  /** A memory buffer, which is filled and read like a file. */
  readonly newBuffer: () => number;
  readonly fillBuffer: (buffer: number, at: number, lengthBytes: number) => boolean;
  readonly freeBuffer: (buffer: number) => void;
  /** Takes the first certificate of PEM, and all others as its chain. */
  readonly useCertificates: (context: number, pem: number) => boolean;
  readonly useKey: (context: number, pem: number) => boolean;
  /**
   * Sets what contexts call back. To be called once per thread, since koffi has room for some thousand callbacks.
   * @returns sets a context's
   */
  readonly callBack: (callbacks: Callbacks) => (context: number, wish: { readonly staples: boolean }) => void;
  readonly useTicketKey: (call: TicketCall, keys: { macAt: number; cipherAt: number; lengthBytes: number }) => boolean;
  readonly fillRandom: (at: number, lengthBytes: number) => boolean;
  readonly copy: (to: number, from: number, lengthBytes: number) => void;
}

let opened: OpenSsl | string | undefined;

/** The functions for this thread, or why there are none. */
export function openOpenSsl(): OpenSsl | string {
  return (opened ??= load());
}

function load(): OpenSsl | string {
  const koffi = loadKoffi();
  if (koffi === undefined) return koffiMissing;
  const program = koffi.load(null);
  try {
    const major = (program.func("ulong OpenSSL_version_num()") as () => number)() >>> 28;
    if (major !== 3) return `the node binary has OpenSSL ${major}, and only 3 is supported`;
    return { ...connectionCalls(program), ...contextCalls(program), ...callbackCalls(koffi, program) };
  } catch (error) {
    return `the node binary lacks a function of OpenSSL: ${(error as Error).message}`;
  }
}

type Koffi = NonNullable<ReturnType<typeof loadKoffi>>;
type Library = ReturnType<Koffi["load"]>;

function connectionCalls(program: Library) {
  const create = program.func("int64_t SSL_new(int64_t)") as Numbers;
  const setDescriptor = program.func("int SSL_set_fd(int64_t, int)") as Numbers;
  const setAcceptState = program.func("void SSL_set_accept_state(int64_t)") as Void;
  const free = program.func("void SSL_free(int64_t)") as Void;
  const isReused = program.func("int SSL_session_reused(int64_t)") as Numbers;
  const controlConnection = program.func("long SSL_ctrl(int64_t, int, long, int64_t)") as Numbers;
  const duplicate = program.func("int64_t CRYPTO_memdup(int64_t, size_t, const char*, int)") as (
    at: number,
    lengthBytes: number,
    file: string,
    line: number,
  ) => number;
  const peekError = program.func("ulong ERR_peek_error()") as Numbers;
  const clearErrors = program.func("void ERR_clear_error()") as Void;
  const reasonOf = program.func("const char* ERR_reason_error_string(ulong)") as (error: number) => string | null;
  return {
    read: program.func("int SSL_read(int64_t, int64_t, int)") as OpenSsl["read"],
    write: program.func("int SSL_write(int64_t, int64_t, int)") as OpenSsl["write"],
    hasPending: program.func("int SSL_has_pending(int64_t)") as OpenSsl["hasPending"],
    getError: program.func("int SSL_get_error(int64_t, int)") as OpenSsl["getError"],
    handshake: program.func("int SSL_do_handshake(int64_t)") as OpenSsl["handshake"],
    shutdown: program.func("int SSL_shutdown(int64_t)") as OpenSsl["shutdown"],
    open(context: number, descriptor: number): number {
      const ssl = create(context);
      if (ssl === 0) return 0;
      if (setDescriptor(ssl, descriptor) !== 1) {
        free(ssl);
        return 0;
      }
      setAcceptState(ssl);
      return ssl;
    },
    free,
    version: program.func("int SSL_version(int64_t)") as OpenSsl["version"],
    isResumed: (ssl: number): boolean => isReused(ssl) === 1,
    chosenProtocol: program.func("void SSL_get0_alpn_selected(int64_t, int64_t, int64_t)") as OpenSsl["chosenProtocol"],
    staple(ssl: number, at: number, lengthBytes: number): void {
      const copied = lengthBytes === 0 ? 0 : duplicate(at, lengthBytes, "", 0);
      controlConnection(ssl, control.statusResponse, copied === 0 ? 0 : lengthBytes, copied);
    },
    returnAfterSteps(ssl: number): void {
      // Reading ahead must stay as it is: OpenSSL loses bytes that it has read ahead when that ends with a KeyUpdate.
      controlConnection(ssl, control.clearMode, SSL_MODE_AUTO_RETRY, 0);
    },
    takeError(): string {
      const error = peekError();
      if (error === 0) return "";
      const reason = reasonOf(error) ?? `error ${error}`;
      clearErrors();
      return reason;
    },
  };
}

function contextCalls(program: Library) {
  const method = program.func("int64_t TLS_server_method()") as Numbers;
  const create = program.func("int64_t SSL_CTX_new(int64_t)") as Numbers;
  const freeContext = program.func("void SSL_CTX_free(int64_t)") as Void;
  const controlContext = program.func("long SSL_CTX_ctrl(int64_t, int, long, int64_t)") as Numbers;
  const setOptions = program.func("uint64_t SSL_CTX_set_options(int64_t, uint64_t)") as Numbers;
  const setTimeout = program.func("long SSL_CTX_set_timeout(int64_t, long)") as Numbers;
  const setSessionContext = program.func("int SSL_CTX_set_session_id_context(int64_t, int64_t, uint)") as Numbers;
  type SetSuites = (context: number, names: string) => number;
  const setSuites = program.func("int SSL_CTX_set_ciphersuites(int64_t, const char*)") as SetSuites;
  const setSuites12 = program.func("int SSL_CTX_set_cipher_list(int64_t, const char*)") as SetSuites;
  const memory = program.func("int64_t BIO_s_mem()") as Numbers;
  const newBuffer = program.func("int64_t BIO_new(int64_t)") as Numbers;
  const writeBuffer = program.func("int BIO_write(int64_t, int64_t, int)") as Numbers;
  const readFirst = program.func("int64_t PEM_read_bio_X509_AUX(int64_t, int64_t, int64_t, int64_t)") as Numbers;
  const readNext = program.func("int64_t PEM_read_bio_X509(int64_t, int64_t, int64_t, int64_t)") as Numbers;
  const readKey = program.func("int64_t PEM_read_bio_PrivateKey(int64_t, int64_t, int64_t, int64_t)") as Numbers;
  const useCertificate = program.func("int SSL_CTX_use_certificate(int64_t, int64_t)") as Numbers;
  const useKey = program.func("int SSL_CTX_use_PrivateKey(int64_t, int64_t)") as Numbers;
  const freeCertificate = program.func("void X509_free(int64_t)") as Void;
  const freeKey = program.func("void EVP_PKEY_free(int64_t)") as Void;
  const modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS;
  return {
    newContext(settings: ContextSettings): number {
      const context = create(method());
      if (context === 0) return 0;
      setOptions(context, settings.options);
      setTimeout(context, settings.sessionSeconds);
      controlContext(context, control.mode, modes, 0);
      controlContext(context, control.readAhead, 1, 0); // a record's head and body in one call
      controlContext(context, control.sessionCacheMode, 0, 0); // tickets hold the sessions
      const isSet =
        controlContext(context, control.minVersion, TLS_1_2, 0) === 1 &&
        controlContext(context, control.maxVersion, TLS_1_3, 0) === 1 &&
        setSuites(context, settings.suites) === 1 &&
        setSuites12(context, settings.suites12) === 1 &&
        setSessionContext(context, settings.sessionContextAt, settings.sessionContextBytes) === 1;
      if (isSet) return context;
      freeContext(context);
      return 0;
    },
    freeContext,
    newBuffer: (): number => newBuffer(memory()),
    fillBuffer: (buffer: number, at: number, lengthBytes: number): boolean =>
      writeBuffer(buffer, at, lengthBytes) === lengthBytes,
    freeBuffer: program.func("void BIO_vfree(int64_t)") as OpenSsl["freeBuffer"],
    useCertificates(context: number, pem: number): boolean {
      const first = readFirst(pem, 0, 0, 0);
      if (first === 0) return false;
      const isUsed = useCertificate(context, first) === 1;
      freeCertificate(first);
      if (!isUsed) return false;
      for (let next = readNext(pem, 0, 0, 0); next !== 0; next = readNext(pem, 0, 0, 0)) {
        if (controlContext(context, control.addChainCertificate, 0, next) === 1) continue;
        freeCertificate(next);
        return false;
      }
      return true;
    },
    useKey(context: number, pem: number): boolean {
      const key = readKey(pem, 0, 0, 0);
      if (key === 0) return false;
      const isUsed = useKey(context, key) === 1;
      freeKey(key);
      return isUsed;
    },
  };
}

/** OpenSSL calls back for messages of handshakes only, in the thread that has called handshake(), read() or write(). */
function callbackCalls(koffi: Koffi, program: Library) {
  type Callback = ReturnType<Koffi["register"]>;
  const alpn = koffi.pointer(
    koffi.proto("int OpenSslAlpn(int64_t ssl, int64_t out, int64_t outLength, int64_t in, uint inLength, int64_t arg)"),
  );
  const status = koffi.pointer(koffi.proto("int OpenSslStatus(int64_t ssl, int64_t arg)"));
  const ticket = koffi.pointer(
    koffi.proto("int OpenSslTicket(int64_t ssl, int64_t name, int64_t iv, int64_t cipher, int64_t mac, int isNew)"),
  );
  const info = koffi.pointer(koffi.proto("void OpenSslInfo(int64_t ssl, int where, int result)"));
  const setInfo = program.func("SSL_set_info_callback", "void", ["int64_t", info]) as (
    ssl: number,
    callback: Callback,
  ) => void;
  const setAlpn = program.func("SSL_CTX_set_alpn_select_cb", "void", ["int64_t", alpn, "int64_t"]) as (
    context: number,
    callback: Callback,
    argument: number,
  ) => void;
  type SetCallback = (context: number, number: number, callback: Callback) => number;
  const setStatus = program.func("SSL_CTX_callback_ctrl", "long", ["int64_t", "int", status]) as SetCallback;
  const setTicket = program.func("SSL_CTX_callback_ctrl", "long", ["int64_t", "int", ticket]) as SetCallback;
  const select = program.func("int SSL_select_next_proto(int64_t, int64_t, int64_t, uint, int64_t, uint)") as Numbers;
  const cipher = (program.func("int64_t EVP_aes_128_cbc()") as Numbers)();
  const digest = (program.func("int64_t EVP_sha256()") as Numbers)();
  const initCipher = program.func("int EVP_CipherInit_ex(int64_t, int64_t, int64_t, int64_t, int64_t, int)") as Numbers;
  const initMac = program.func("int HMAC_Init_ex(int64_t, int64_t, int, int64_t, int64_t)") as Numbers;
  const fillRandom = program.func("int RAND_bytes(int64_t, int)") as Numbers;
  return {
    callBack({ protocolsAt, protocolsBytes, ticketKey }: Callbacks): ReturnType<OpenSsl["callBack"]> {
      const choose = (_ssl: number, out: number, outLength: number, offered: number, offeredBytes: number): number => {
        const chosen = select(out, outLength, protocolsAt, protocolsBytes, offered, offeredBytes);
        return chosen === OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
      };
      const asked = (_ssl: number, nameAt: number, ivAt: number, of: number, mac: number, isNew: number): number =>
        ticketKey({ nameAt, ivAt, cipher: of, mac, isNew: isNew === 1 });
      const [onAlpn, onTicket] = [koffi.register(choose, alpn), koffi.register(asked, ticket)];
      const onStatus = koffi.register(() => SSL_TLSEXT_ERR_OK, status);
      return (context, { staples }) => {
        setAlpn(context, onAlpn, 0);
        setTicket(context, control.ticketKeyCallback, onTicket);
        if (staples) setStatus(context, control.statusCallback, onStatus);
      };
    },
    onStep(stepped: (ssl: number) => void): ReturnType<OpenSsl["onStep"]> {
      const onInfo = koffi.register((ssl: number, where: number) => {
        if (where === SSL_CB_ACCEPT_LOOP) stepped(ssl);
      }, info);
      return (ssl) => {
        setInfo(ssl, onInfo);
      };
    },
    useTicketKey(
      call: TicketCall,
      { macAt, cipherAt, lengthBytes }: { macAt: number; cipherAt: number; lengthBytes: number },
    ): boolean {
      return (
        initCipher(call.cipher, cipher, 0, cipherAt, call.ivAt, Number(call.isNew)) === 1 &&
        initMac(call.mac, macAt, lengthBytes, digest, 0) === 1
      );
    },
    fillRandom: (at: number, lengthBytes: number): boolean => fillRandom(at, lengthBytes) === 1,
    copy: program.func("int64_t memcpy(int64_t, int64_t, int64_t)") as Void,
  };
}
