package parlor.jolie.services;

import java.io.IOException;
import java.io.StringWriter;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.ByteBuffer;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import jolie.runtime.FaultException;
import jolie.runtime.JavaService;
import jolie.runtime.Value;
import jolie.runtime.ValuePrettyPrinter;
import jolie.runtime.ValueVector;
import parlor.jolie.Run;

/** {@code StringUtils}: what a script does with text. Regular expressions are those of {@code java.util.regex}. */
public final class StringUtils extends JavaService {
  /** Characters. */
  public Integer length(String text) {
    return text.length();
  }

  /** Without white space at both ends. */
  public String trim(String text) {
    return text.trim();
  }

  /** In small letters. */
  public String toLowerCase(String text) {
    return text.toLowerCase(Locale.ROOT);
  }

  /** In capitals. */
  public String toUpperCase(String text) {
    return text.toUpperCase(Locale.ROOT);
  }

  /** Whether it has {@code .substring} in it. */
  public Boolean contains(Value request) {
    return request.strValue().contains(request.getFirstChild("substring").strValue());
  }

  /** Whether it begins with {@code .prefix}. */
  public Boolean startsWith(Value request) {
    return request.strValue().startsWith(request.getFirstChild("prefix").strValue());
  }

  /** Whether it ends with {@code .suffix}. */
  public Boolean endsWith(Value request) {
    return request.strValue().endsWith(request.getFirstChild("suffix").strValue());
  }

  /** Where {@code .word} begins; -1: nowhere. */
  public Integer indexOf(Value request) {
    return request.strValue().indexOf(request.getFirstChild("word").strValue());
  }

  /** From {@code .begin} up to, and not including, {@code .end}; without that, to its end. */
  public String substring(Value request) throws FaultException {
    String text = request.strValue();
    int begin = request.getFirstChild("begin").intValue();
    int end = request.hasChildren("end") ? request.getFirstChild("end").intValue() : text.length();
    int last = java.lang.Math.min(end, text.length());
    if (begin < 0 || begin > last) {
      throw new FaultException("IndexOutOfBounds", "from " + begin + " to " + end + " of " + text.length());
    }
    return text.substring(begin, last);
  }

  /** With {@code .replacement} for all that {@code .regex} finds. */
  public String replaceAll(Value request) throws FaultException {
    return replace(request, true);
  }

  /** With {@code .replacement} for the first that {@code .regex} finds. */
  public String replaceFirst(Value request) throws FaultException {
    return replace(request, false);
  }

  private static String replace(Value request, boolean all) throws FaultException {
    Matcher matcher = pattern(request).matcher(request.strValue());
    String replacement = request.getFirstChild("replacement").strValue();
    try {
      return all ? matcher.replaceAll(replacement) : matcher.replaceFirst(replacement);
    } catch (IllegalArgumentException | IndexOutOfBoundsException error) {
      throw new FaultException("InvalidReplacement", error.getMessage());
    }
  }

  /** 1 and the groups when all of it matches {@code .regex}, else 0. */
  public Value match(Value request) throws FaultException {
    Matcher matcher = pattern(request).matcher(request.strValue());
    return groups(matcher, matcher.matches());
  }

  /** 1 and the groups of the first place where {@code .regex} matches, else 0. */
  public Value find(Value request) throws FaultException {
    Matcher matcher = pattern(request).matcher(request.strValue());
    return groups(matcher, matcher.find());
  }

  private static Value groups(Matcher matcher, boolean found) {
    Value result = Value.create(found ? 1 : 0);
    for (int group = 0; found && group <= matcher.groupCount(); group++) {
      String text = matcher.group(group);
      result.getNewChild("group").setValue(text == null ? "" : text);
    }
    return result;
  }

  /** Its parts between what {@code .regex} finds, at most {@code .limit} of them. */
  public Value split(Value request) throws FaultException {
    int limit = request.hasChildren("limit") ? request.getFirstChild("limit").intValue() : 0;
    Value result = Value.create();
    for (String part : pattern(request).split(request.strValue(), limit)) {
      result.getNewChild("result").setValue(part);
    }
    return result;
  }

  /** Its parts of {@code .length} characters each, the last one shorter. */
  public Value splitByLength(Value request) throws FaultException {
    String text = request.strValue();
    int length = request.getFirstChild("length").intValue();
    if (length < 1) {
      throw new FaultException("InvalidLength", "length must be 1 or more");
    }
    Value result = Value.create();
    for (int begin = 0; begin < text.length(); begin += length) {
      int end = java.lang.Math.min(begin + length, text.length());
      result.getNewChild("result").setValue(text.substring(begin, end));
    }
    return result;
  }

  /** All {@code .piece}, with {@code .delimiter} between them. */
  public String join(Value request) {
    return String.join(request.getFirstChild("delimiter").strValue(), texts(request.getChildren("piece")));
  }

  /** All {@code .item}, in the order of their characters. */
  public Value sort(Value request) {
    List<String> items = texts(request.getChildren("item"));
    Collections.sort(items);
    Value result = Value.create();
    items.forEach(item -> result.getNewChild("item").setValue(item));
    return result;
  }

  /** With {@code .char} before it until it has {@code .length} characters. */
  public String leftPad(Value request) throws FaultException {
    return padding(request) + request.strValue();
  }

  /** With {@code .char} behind it until it has {@code .length} characters. */
  public String rightPad(Value request) throws FaultException {
    return request.strValue() + padding(request);
  }

  private static String padding(Value request) throws FaultException {
    String character = request.getFirstChild("char").strValue();
    if (character.length() != 1) {
      throw new FaultException("InvalidCharacter", "char must be one character");
    }
    return character.repeat(java.lang.Math.max(0, request.getFirstChild("length").intValue() - request.strValue().length()));
  }

  /** As part of an address, in {@code .charset} or UTF-8. */
  public String urlEncode(Value request) throws FaultException {
    try {
      return URLEncoder.encode(request.strValue(), charset(request));
    } catch (IllegalArgumentException error) {
      throw new FaultException("InvalidText", error.getMessage());
    }
  }

  /** The same back. */
  public String urlDecode(Value request) throws FaultException {
    try {
      return URLDecoder.decode(request.strValue(), charset(request));
    } catch (IllegalArgumentException error) {
      throw new FaultException("InvalidText", error.getMessage());
    }
  }

  private static Charset charset(Value request) {
    return request.hasChildren("charset") ? Charset.forName(request.getFirstChild("charset").strValue()) : StandardCharsets.UTF_8;
  }

  /** Made of the run's random numbers: the same for the same message. */
  public String getRandomUUID() {
    byte[] bytes = new byte[16];
    Run run = Run.of(interpreter());
    if (run != null) {
      run.random().nextBytes(bytes);
    }
    bytes[6] = (byte) (bytes[6] & 0x0f | 0x40);
    bytes[8] = (byte) (bytes[8] & 0x3f | 0x80);
    ByteBuffer halves = ByteBuffer.wrap(bytes);
    return new UUID(halves.getLong(), halves.getLong()).toString();
  }

  /** A whole tree as lines to read. */
  public String valueToPrettyString(Value tree) throws FaultException {
    StringWriter lines = new StringWriter();
    try {
      new ValuePrettyPrinter(tree, lines, "Value").run();
    } catch (IOException error) {
      throw new FaultException("IOException", error);
    }
    return lines.toString();
  }

  private static List<String> texts(ValueVector values) {
    List<String> texts = new ArrayList<>();
    values.forEach(value -> texts.add(value.strValue()));
    return texts;
  }

  private static Pattern pattern(Value request) throws FaultException {
    try {
      return Pattern.compile(request.getFirstChild("regex").strValue());
    } catch (PatternSyntaxException error) {
      throw new FaultException("InvalidRegex", error.getMessage());
    }
  }
}
