package parlor.jolie.services;

import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import jolie.runtime.FaultException;
import jolie.runtime.JavaService;
import jolie.runtime.Value;
import parlor.jolie.Run;

/** {@code Time}: the moment when the message was sent, in UTC, so that a run that is made again tells the same. */
public final class Time extends JavaService {
  private static final String FORMAT = "dd/MM/yyyy HH:mm:ss";

  /** In milliseconds since 1970. */
  public Long getCurrentTimeMillis() {
    return clock();
  }

  /** As text, by {@code .format} as for {@code java.time.format.DateTimeFormatter}. */
  public String getCurrentDateTime(Value request) throws FaultException {
    return format(request, clock());
  }

  /** Another moment as text. */
  public String getDateTime(Value request) throws FaultException {
    return format(request, request.longValue());
  }

  /** {@code .day}, {@code .month} and {@code .year}. */
  public Value getCurrentDateValues() {
    ZonedDateTime now = at(clock());
    Value date = Value.create();
    date.setFirstChild("day", now.getDayOfMonth());
    date.setFirstChild("month", now.getMonthValue());
    date.setFirstChild("year", now.getYear());
    return date;
  }

  private long clock() {
    Run run = Run.of(interpreter());
    return run == null ? 0 : run.clock();
  }

  private static ZonedDateTime at(long millis) {
    return Instant.ofEpochMilli(millis).atZone(ZoneOffset.UTC);
  }

  private static String format(Value request, long millis) throws FaultException {
    String format = request.hasChildren("format") ? request.getFirstChild("format").strValue() : FORMAT;
    try {
      return DateTimeFormatter.ofPattern(format).format(at(millis));
    } catch (IllegalArgumentException | java.time.DateTimeException error) {
      throw new FaultException("InvalidFormat", error.getMessage());
    }
  }
}
