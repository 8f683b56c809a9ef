package parlor.jolie.services;

import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.temporal.TemporalAccessor;
import java.time.temporal.TemporalQueries;
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
    return values(at(clock()));
  }

  /** {@code .day}, {@code .month} and {@code .year} of a date that is text. */
  public Value getDateValues(Value request) throws FaultException {
    return values(parse(request, "dd/MM/yyyy"));
  }

  /** When that was, in milliseconds since 1970. */
  public Long getTimestampFromString(Value request) throws FaultException {
    return parse(request, FORMAT).toInstant().toEpochMilli();
  }

  /** Waits so many milliseconds. The run's wall limit goes on. */
  public Value sleep(Value millis) {
    try {
      Thread.sleep(java.lang.Math.max(0, millis.longValue()));
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    return Value.create();
  }

  /** Text as a moment in UTC; without a time of day, at its beginning. */
  private static ZonedDateTime parse(Value request, String otherwise) throws FaultException {
    String format = request.hasChildren("format") ? request.getFirstChild("format").strValue() : otherwise;
    try {
      TemporalAccessor read = DateTimeFormatter.ofPattern(format).parse(request.strValue());
      LocalTime time = read.query(TemporalQueries.localTime());
      return LocalDate.from(read).atTime(time == null ? LocalTime.MIDNIGHT : time).atZone(ZoneOffset.UTC);
    } catch (IllegalArgumentException | java.time.DateTimeException error) {
      throw new FaultException("InvalidDate", error.getMessage());
    }
  }

  private static Value values(ZonedDateTime when) {
    Value date = Value.create();
    date.setFirstChild("day", when.getDayOfMonth());
    date.setFirstChild("month", when.getMonthValue());
    date.setFirstChild("year", when.getYear());
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
