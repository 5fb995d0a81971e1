// SPDX-License-Identifier: MIT
// Which objects are alive, of every class of the double and of the Metal backend; and who sends
// something to one that is gone. NSObject itself tells: a class that is added is counted, too.
#import <Foundation/Foundation.h>
#import <objc/runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace {

/// Objects that are gone keep their memory until this many went after them.
constexpr std::size_t kMostGone = 4096;

struct Live {
  std::mutex mutex;
  std::unordered_map<Class, bool> is_counted;
  std::map<std::string, long> alive;  // by class
  std::deque<id> order;               // of those that are gone
  std::unordered_map<id, Class> gone;
  long over_releases = 0;
};

/// Never destroyed: objects go until the process ends.
Live& live() {
  static auto* instance = new Live;
  return *instance;
}

IMP allocate, deallocate;  // NSObject's own

/// Apple's names, the double's own, and the backend's.
bool has_counted_name(Class kind) {
  for (const char* prefix : {"MPS", "MTL", "Double", "Mpsnn"})
    if (std::strncmp(class_getName(kind), prefix, std::strlen(prefix)) == 0) return true;
  return false;
}

bool is_counted(Live& of, Class kind) {
  const auto [found, is_new] = of.is_counted.try_emplace(kind, false);
  if (is_new) found->second = has_counted_name(kind);
  return found->second;
}

id count_allocation(Class kind, SEL selector, NSZone* zone) {
  id made = reinterpret_cast<id (*)(Class, SEL, NSZone*)>(allocate)(kind, selector, zone);
  const std::lock_guard lock(live().mutex);
  if (is_counted(live(), kind)) ++live().alive[class_getName(kind)];
  return made;
}

void free_object(id object) {
  reinterpret_cast<void (*)(id, SEL)>(deallocate)(object, @selector(dealloc));
}

}  // namespace

/// What an object is once it is gone.
@interface GoneObject : NSObject
@end

namespace {

/// Takes the place of NSObject's dealloc.
void count_deallocation(id object, SEL) {
  const Class kind = object_getClass(object);
  id oldest = nil;
  {
    const std::lock_guard lock(live().mutex);
    if (is_counted(live(), kind)) {
      --live().alive[class_getName(kind)];
      live().gone[object] = kind;
      live().order.push_back(object);
      object_setClass(object, [GoneObject class]);
      if (live().order.size() <= kMostGone) return;
      oldest = live().order.front();
      live().order.pop_front();
      object_setClass(oldest, live().gone.at(oldest));
      live().gone.erase(oldest);
    }
  }
  free_object(oldest == nil ? object : oldest);
}

void note_gone(id object, SEL selector) {
  const std::lock_guard lock(live().mutex);
  ++live().over_releases;
  std::fprintf(stderr, "metal double: %s is sent to a %s that is gone\n", sel_getName(selector),
               class_getName(live().gone.at(object)));
}

/// A process whose tests do not ask fails, too.
struct LastWord {
  ~LastWord() {
    if (live().over_releases != 0) std::_Exit(70);
  }
} last_word;

}  // namespace

@implementation GoneObject
/// Before any class is used.
+ (void)load {
  const Class root = [NSObject class];
  allocate = method_setImplementation(class_getClassMethod(root, @selector(allocWithZone:)),
                                      reinterpret_cast<IMP>(count_allocation));
  deallocate = method_setImplementation(class_getInstanceMethod(root, @selector(dealloc)),
                                        reinterpret_cast<IMP>(count_deallocation));
}
- (instancetype)retain {
  note_gone(self, _cmd);
  return self;
}
- (oneway void)release {
  note_gone(self, _cmd);
}
- (instancetype)autorelease {
  note_gone(self, _cmd);
  return self;
}
- (BOOL)isKindOfClass:(Class)kind {
  note_gone(self, _cmd);
  return [super isKindOfClass:kind];
}
- (void)doesNotRecognizeSelector:(SEL)selector {
  note_gone(self, selector);
  [super doesNotRecognizeSelector:selector];
}
@end

/// Objects alive.
extern "C" __attribute__((visibility("default"))) long metal_double_objects(void) {
  const std::lock_guard lock(live().mutex);
  long all = 0;
  for (const auto& [name, count] : live().alive) all += count;
  return all;
}

/// Objects alive of a class, without those of its subclasses.
extern "C" __attribute__((visibility("default"))) long metal_double_objects_of(const char* name) {
  const std::lock_guard lock(live().mutex);
  const auto found = live().alive.find(name);
  return found == live().alive.end() ? 0 : found->second;
}

/// Objects alive by class: "DoubleBuffer 3 MPSImage 1". Valid until the thread asks again.
extern "C" __attribute__((visibility("default"))) const char* metal_double_alive(void) {
  thread_local std::string text;
  text.clear();
  const std::lock_guard lock(live().mutex);
  for (const auto& [name, count] : live().alive)
    if (count != 0) text += (text.empty() ? "" : " ") + name + " " + std::to_string(count);
  return text.c_str();
}

/// Messages to objects that were gone, since this was last asked: each is a release too many.
extern "C" __attribute__((visibility("default"))) long metal_double_over_releases(void) {
  const std::lock_guard lock(live().mutex);
  return std::exchange(live().over_releases, 0);
}
