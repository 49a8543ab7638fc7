package io.grpc;

/**
 * The class of this name in Google's emulator (0.8.20 and others), with the method that the emulator's own server calls and that
 * its libraries no longer have. Without it every call that a client ends fails with a NoSuchMethodError before the emulator hears
 * that it has ended: it goes on giving messages to readers that are gone, each for the time of a lease. With it the emulator does
 * what its authors wrote.
 */
public final class InternalStatus {
  public static final Metadata.Key<String> MESSAGE_KEY = Status.MESSAGE_KEY;
  public static final Metadata.Key<Status> CODE_KEY = Status.CODE_KEY;

  private InternalStatus() {}

  public static StatusRuntimeException asRuntimeExceptionWithoutStacktrace(Status status, Metadata trailers) {
    return new InternalStatusRuntimeException(status, trailers);
  }

  public static StatusRuntimeException asRuntimeException(Status status, Metadata trailers, boolean fillInStackTrace) {
    return fillInStackTrace ? new StatusRuntimeException(status, trailers) : asRuntimeExceptionWithoutStacktrace(status, trailers);
  }
}
